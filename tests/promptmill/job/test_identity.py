"""A request's identity is the same in every process and every release: checkpoints are found by it."""

import json
import os
import subprocess
import sys
from decimal import Decimal

import pytest

from promptmill.job.identity import identifying_request, row_digest
from promptmill.job.spec import RequestSpec
from promptmill.prompts.request_builder import RequestBuilder
from promptmill.prompts.response_schema import ResponseSchema
from promptmill.prompts.tokens import TokenCounter
from tests.support.rendering import LETTERS, builder_of

SCHEMA = ResponseSchema({"type": "object", "properties": {"reason": {"type": "string"}, "label": {"enum": ["a", "b"]}}})
WORTHLESS = (
    "The identity of a request changed: every checkpoint of every user becomes worthless, and every answer is paid for "
    "again. Undo the change, or raise SCHEMA_VERSION and say so in the changelog."
)
FROZEN = [
    (
        RequestSpec(model="gpt-6-luna", system="Label.", user="{{ text }}", parameters={"temperature": 0}),
        SCHEMA,
        "fdd8a8563f9e883f9fe61c2f3e800c26-00000003",
    ),
    (
        RequestSpec.model_validate(
            {
                "endpoint": "responses",
                "model": "gpt-6-luna",
                "messages": [{"role": "user", "content": [{"type": "input_text", "text": "{{ text }} {{ number }}"}]}],
                "parameters": {"reasoning": {"effort": "low"}, "max_output_tokens": 9},
            }
        ),
        SCHEMA,
        "c67542d7e2b358815cbba98b63cacb1e-00000003",
    ),
    (
        RequestSpec(endpoint="embeddings", model="text-embedding-3-small", input="{{ text }}"),
        None,
        "113098a458c7ae92cdfcdbe91ed0de8c-00000003",
    ),
]
ROW = {"text": "Größe: 42 € – “fine” 😀\n", "number": Decimal("1.50")}
UNRENDERED = "ae21bcfbe3d0b63d44d9975fdcf8d88b-3317c9a1"


@pytest.mark.parametrize(("spec", "schema", "known"), FROZEN, ids=["chat", "responses", "embeddings"])
def test_a_requests_identity_never_changes(spec: RequestSpec, schema: ResponseSchema | None, known: str) -> None:
    assert known == RequestBuilder(spec, list(ROW), schema, LETTERS).build(ROW, 3).custom_id, WORTHLESS


def test_the_identity_of_an_unrendered_row_never_changes() -> None:
    builder = RequestBuilder(FROZEN[0][0], list(ROW), SCHEMA, LETTERS)

    assert UNRENDERED == builder.unrendered_custom_id("row 3"), WORTHLESS
    assert builder.unrendered_custom_id("row 3") != builder.unrendered_custom_id("row 3", repetition=1)
    assert builder.unrendered_custom_id("row 3").endswith(row_digest("row 3"))


def test_an_equal_request_has_an_equal_identity() -> None:
    """The order of keys in the job and in the row, columns that aren't used, how tokens are counted."""
    spec = RequestSpec(model="m", user="{{ a }}{{ b }}", parameters={"top_p": 1, "logit_bias": {"2": 1, "1": 2}})
    other = RequestSpec(parameters={"logit_bias": {"1": 2, "2": 1}, "top_p": 1}, user="{{ a }}{{ b }}", model="m")
    estimate = TokenCounter(lambda text: 0, "none", False)
    one = RequestBuilder(spec, ["a", "b"], None, LETTERS).build({"a": {"x": 1, "y": 2}, "b": 2}, 1)
    two = RequestBuilder(other, ["c", "b", "a"], None, estimate).build({"c": 0, "b": 2, "a": {"y": 2, "x": 1}}, 1)

    assert one.custom_id == two.custom_id


def test_the_order_of_schema_properties_is_part_of_the_request() -> None:
    """Models write properties in that order, so that it changes the answers."""
    spec = RequestSpec(model="m", user="x", same_for_all=True)
    properties = SCHEMA.strict_schema["properties"]
    swapped = ResponseSchema({"type": "object", "properties": dict(reversed(properties.items()))})
    bodies = [RequestBuilder(spec, [], one, LETTERS).build({}, 0).body for one in (SCHEMA, swapped)]

    assert ["reason", "label"] == list(json.loads(bodies[0])["response_format"]["json_schema"]["schema"]["properties"])
    assert bodies[0] != bodies[1]


@pytest.mark.parametrize("mode", ["json_schema", "json_object", "prompt", "tool"])
def test_how_the_schema_is_conveyed_is_no_part_of_a_jobs_identity(mode: str) -> None:
    values = {"model": "m", "user": "{{ text }}", "response_schema": "schema.json"}
    jobs = [RequestSpec.model_validate({**values, **more}) for more in ({}, {"structured": mode})]
    digested = [identifying_request(job.model_dump(mode="json")) for job in jobs]

    assert digested[0] == digested[1]
    assert "structured" not in digested[0]


def test_rows_that_share_an_id_have_different_identities() -> None:
    builder = builder_of("{{ text }}", ["text"])
    ids = {builder.build({"text": "x"}, "same", repetition).custom_id for repetition in range(3)}

    assert 3 == len(ids)


def test_another_process_builds_the_same_requests() -> None:
    program = """
from tests.promptmill.job.test_identity import FROZEN, LETTERS, ROW
from promptmill.prompts.request_builder import RequestBuilder
for spec, schema, _ in FROZEN:
    print(RequestBuilder(spec, list(ROW), schema, LETTERS).build(ROW, "id").custom_id)
"""
    environ = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    here = [RequestBuilder(spec, list(ROW), schema, LETTERS).build(ROW, "id").custom_id for spec, schema, _ in FROZEN]

    assert here == run.stdout.split()
