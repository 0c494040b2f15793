"""A request is the same whatever order its job's keys arrive in, and asks for properties in the order that was written."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from promptmill.errors import JobError
from promptmill.job.file import load_job, parse_override
from promptmill.job.identity import job_digest
from promptmill.job.spec import Job
from promptmill.notebook import job_from as notebook_job
from promptmill.planning.prepared_job import prepare
from promptmill.prompts.request_builder import RequestBuilder
from promptmill.prompts.response_schema import load_schema
from tests.support.rendering import LETTERS
from tests.support.rows import write_rows

PERSON = {"type": "object", "properties": {"name": {"type": "string"}, "id": {"type": "integer"}}}
VERDICT = {"type": "object", "properties": {"label": {"enum": ["x", "y"]}, "at": {"type": "number"}}}
UNNAMED: dict[str, Any] = {
    "type": "object",
    "properties": {"reasoning": {"type": "string"}, "verdict": {"$ref": "#/$defs/Verdict"}, "by": {"anyOf": [PERSON]}},
    "$defs": {"Verdict": VERDICT},
}
NAMED: dict[str, Any] = {
    **UNNAMED,
    "properties": {**UNNAMED["properties"], "by": {"anyOf": [{**PERSON, "required": ["name", "id"]}]}},
    "required": ["reasoning", "verdict", "by"],
    "$defs": {"Verdict": {**VERDICT, "required": ["label", "at"]}},
}


def as_jsonb(value: Any) -> Any:
    """A value as PostgreSQL gives it back: keys by their length, then by their bytes."""
    if isinstance(value, list):
        return [as_jsonb(one) for one in value]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(value, dict):
        return value
    keys: list[str] = sorted(value, key=lambda key: (len(key.encode()), key.encode()))  # pyright: ignore
    return {key: as_jsonb(value[key]) for key in keys}


def through_postgres(job: Job) -> Job:
    """A job as a worker gets it from a server with PostgreSQL."""
    return Job.model_validate(as_jsonb(job.model_dump(mode="json")))


def job_values(schema: Any, **request: Any) -> dict[str, Any]:
    """A job as it is written."""
    asked = {"model": "gpt-6-luna", "user": "{{ text }}", "response_schema": schema, **request}
    return {"name": "j", "input": {"url": "memory://rows.csv"}, "request": asked, "output": {"url": "memory://out"}}


def job_of(schema: Any, **request: Any) -> Job:
    """A job as it comes through the API."""
    return Job.model_validate(job_values(schema, **request))


def job_file(folder: Path, schema: Any) -> str:
    """A job file with a schema written out in it."""
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job_values(schema), sort_keys=False))
    return str(path)


def body_of(job: Job) -> bytes:
    """The body of one row's request."""
    assert job.request.response_schema is not None
    schema = load_schema(job.request.response_schema)
    return RequestBuilder(job.request, ["text"], schema, LETTERS).build({"text": "t"}, 0).body


def asked_for(job: Job) -> dict[str, Any]:
    """The schema that is sent."""
    return json.loads(body_of(job))["response_format"]["json_schema"]["schema"]


NAMES = st.text("abcdefghproteis", min_size=1, max_size=9) | st.sampled_from(["properties", "required", "$ref"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=9,
)


@st.composite
def schemas(draw: st.DrawFn, depth: int = 2) -> dict[str, Any]:
    """Objects that name none, some or all of their properties in `required`, in any order."""
    leaf = st.sampled_from([{"type": "string", "description": "d"}, {"enum": ["a", "b"]}, {"$ref": "#/$defs/D"}])
    inner = leaf if depth == 0 else leaf | schemas(depth - 1) | st.builds(lambda one: {"anyOf": [one]}, schemas(0))
    properties = draw(st.dictionaries(NAMES, inner, max_size=4))
    named = draw(st.permutations(list(properties)))[: draw(st.integers(0, 4))]
    definitions = {"D": {"type": "object", "properties": {"one": {"type": "string"}, "b": {"type": "number"}}}}
    required = {"required": named} if draw(st.booleans()) else {}
    return {"type": "object", "properties": properties, **required, **({"$defs": definitions} if depth == 2 else {})}


@given(schema=schemas(), parameters=st.dictionaries(st.sampled_from(["a", "tools", "metadata"]), VALUES, max_size=3))
def test_a_job_that_postgresql_has_kept_makes_the_same_request(schema: Any, parameters: dict[str, Any]) -> None:
    part = {"type": "text", "text": "{{ text }}", "extra": {"properties": {"zz": 1, "y": 2}, "a": "{{ text }}"}}
    asked = {"parameters": parameters, "user": None, "messages": [{"role": "user", "content": [part]}]}
    job = job_of(schema, **asked)
    as_text = job_of(json.dumps(schema), **asked)

    assert body_of(job) == body_of(through_postgres(job))
    assert job_digest(job) == job_digest(through_postgres(job))
    assert body_of(as_text) == body_of(through_postgres(as_text))
    assert job_digest(job) == job_digest(as_text)


@given(schema=schemas())
def test_properties_come_in_the_order_of_required(schema: dict[str, Any]) -> None:
    named = {**schema, "required": list(schema["properties"])}

    assert named["required"] == list(asked_for(through_postgres(job_of(named)))["properties"])


def test_a_schema_that_names_its_properties_as_they_come_is_one_request_however_it_arrives(tmp_path: Path) -> None:
    flow_style = yaml.safe_dump(NAMED, sort_keys=False, default_flow_style=True)
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(NAMED))
    given = job_of(NAMED)
    written = load_job(job_file(tmp_path, NAMED))
    jobs = [given, written, job_of(json.dumps(NAMED, indent="\t")), job_of(flow_style), job_of(str(path))]

    assert {body_of(given)} == {body_of(job) for job in jobs} | {body_of(through_postgres(job)) for job in jobs}
    assert {job_digest(given)} == {job_digest(job) for job in jobs[:4]}


@pytest.mark.parametrize("required", [None, ["verdict"], ["by", "verdict", "reasoning"]])
def test_a_job_file_keeps_its_own_order_of_properties_against_required(
    required: list[str] | None, tmp_path: Path
) -> None:
    job = load_job(job_file(tmp_path, UNNAMED | ({} if required is None else {"required": required})))

    for one in (job, through_postgres(job)):
        sent = asked_for(one)
        assert ["reasoning", "verdict", "by"] == list(sent["properties"])
        assert ["label", "at"] == list(sent["$defs"]["Verdict"]["properties"])
        assert ["name", "id"] == list(sent["properties"]["by"]["anyOf"][0]["properties"])


def test_an_object_whose_required_is_not_complete_has_its_properties_by_name_and_says_so() -> None:
    schema = load_schema(UNNAMED | {"required": ["verdict"]})

    assert ["verdict", "by", "reasoning"] == list(schema.properties)
    assert any("required doesn't name by, reasoning" in one for one in schema.additions)
    assert () == load_schema(NAMED).additions


def test_the_values_of_a_notebook_and_parts_of_an_inline_schema_can_be_replaced_and_keep_their_order(
    tmp_path: Path,
) -> None:
    noted = notebook_job(job_values(UNNAMED))
    path, value = parse_override("request.response_schema.properties.verdict={type: string, enum: [a]}")
    replaced = load_job(job_file(tmp_path, UNNAMED), {path: value})

    assert ["reasoning", "verdict", "by"] == list(asked_for(noted)["properties"])
    assert ["reasoning", "verdict", "by"] == list(asked_for(replaced)["properties"])
    assert {"enum": ["a"], "type": "string"} == asked_for(replaced)["properties"]["verdict"]


def test_overrides_have_one_result_in_any_order(tmp_path: Path) -> None:
    path = job_file(tmp_path, NAMED)
    overrides = {"request": job_values(UNNAMED)["request"], "request.response_schema": NAMED, "request.model": "n"}

    assert body_of(load_job(path, overrides)) == body_of(load_job(path, as_jsonb(overrides)))
    assert "n" == load_job(path, as_jsonb(overrides)).request.model


def test_text_and_object_are_one_job_with_one_output(tmp_path: Path) -> None:
    values = job_values(NAMED) | {
        "input": {"url": str(write_rows(tmp_path / "rows.parquet", ["a"]))},
        "output": {"url": str(tmp_path / "out")},
    }
    as_object = Job.model_validate(values)
    as_text = Job.model_validate(values | {"request": values["request"] | {"response_schema": json.dumps(NAMED)}})
    one, other = (prepare(job, date(2026, 11, 24)) for job in (as_object, as_text))

    assert one.identity == other.identity
    assert one.digest == other.digest


@pytest.mark.parametrize(
    ("text", "match"),
    [
        pytest.param('{"type": "object", ', r"isn't JSON .* and isn't YAML", id="cut"),
        pytest.param('{"type": "object"} {"type": "object"}', r"isn't JSON .* and isn't YAML", id="two"),
        pytest.param("{1: 2}", "isn't YAML", id="key-no-string"),
        pytest.param('{"type": "objekt"}', r"isn't a valid JSON Schema at \$\.type", id="invalid"),
    ],
)
def test_a_text_that_holds_no_schema_is_refused(text: str, match: str) -> None:
    with pytest.raises(JobError, match=match):
        load_schema(text)
