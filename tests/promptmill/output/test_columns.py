"""JSON Schema → Arrow types, raw answers → typed columns, and the output's schemas."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from promptmill.checkpoints.answer_files import answers_table
from promptmill.job.spec import Job
from promptmill.output.arrow_types import JSON_TEXT, parse_responses, schema_types
from promptmill.output.columns import clashing_columns, column_names, failure_schema, output_schema, success_columns
from promptmill.records import Completion, Usage

DEFINITIONS: dict[str, Any] = {
    "Mood": {"enum": ["good", "bad"], "type": "string"},
    "Place": {"type": "object", "properties": {"city": {"type": "string"}, "zip": {"type": "integer"}}},
    "Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}, "value": {"type": "integer"}}},
    "Even": {"type": "object", "properties": {"odd": {"anyOf": [{"$ref": "#/$defs/Odd"}, {"type": "null"}]}}},
    "Odd": {"type": "object", "properties": {"even": {"type": "array", "items": {"$ref": "#/$defs/Even"}}}},
}
JSON = "json"
PLACE = pa.struct([("city", pa.string()), ("zip", pa.int64())])


@dataclass(frozen=True)
class Columns:
    """An input of which only the columns are known."""

    schema: pa.Schema
    carried: Sequence[str]


def job(endpoint: str = "chat.completions", id_column: str | None = None) -> Job:
    prompt = {"input": "{{ text }}"} if endpoint == "embeddings" else {"user": "{{ text }}"}
    return Job.model_validate(
        {
            "name": "reviews",
            "input": {"url": "reviews.parquet", "id_column": id_column},
            "request": {"model": "m", "endpoint": endpoint, **prompt},
            "output": {"url": "out"},
        }
    )


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        pytest.param({"type": "string"}, pa.string(), id="string"),
        pytest.param({"type": "integer"}, pa.int64(), id="integer"),
        pytest.param({"type": "number"}, pa.float64(), id="number"),
        pytest.param({"type": "boolean"}, pa.bool_(), id="boolean"),
        pytest.param({"type": "null"}, pa.string(), id="null"),
        pytest.param({"enum": ["a", "b"]}, pa.string(), id="enum-of-strings"),
        pytest.param({"enum": ["a", None]}, pa.string(), id="enum-with-null"),
        pytest.param({"enum": [1, 2]}, pa.int64(), id="enum-of-integers"),
        pytest.param({"enum": [1, "a"]}, JSON, id="mixed-enum"),
        pytest.param({"const": True}, pa.bool_(), id="const"),
        pytest.param({"type": "string", "format": "date-time"}, pa.string(), id="date-time"),
        pytest.param({"type": ["integer", "null"]}, pa.int64(), id="type-or-null"),
        pytest.param({"type": ["integer", "number"]}, pa.float64(), id="integer-or-number"),
        pytest.param({"type": ["integer", "string"]}, JSON, id="two-types"),
        pytest.param({"anyOf": [{"type": "number"}, {"type": "null"}]}, pa.float64(), id="anyof-null"),
        pytest.param({"oneOf": [{"type": "number"}, {"type": "string"}]}, JSON, id="union"),
        pytest.param({"anyOf": [{"$ref": "#/$defs/Mood"}, {"type": "null"}]}, pa.string(), id="optional-ref"),
        pytest.param({"anyOf": [True, {"type": "null"}]}, JSON, id="anything-in-a-union"),
        pytest.param({"allOf": [{"$ref": "#/$defs/Place"}]}, PLACE, id="allof-one"),
        pytest.param({"$ref": "#/$defs/Place"}, PLACE, id="object"),
        pytest.param({"$ref": "#/definitions/Mood"}, pa.string(), id="old-style-ref"),
        pytest.param({"$ref": "#/$defs/Node"}, JSON, id="recursive"),
        pytest.param({"$ref": "#/$defs/Even"}, JSON, id="mutually-recursive"),
        pytest.param({"$ref": "#"}, JSON, id="the-schema-itself"),
        pytest.param({"$ref": "#/$defs/Missing"}, JSON, id="unknown-ref"),
        pytest.param({"type": "object"}, JSON, id="free-object"),
        pytest.param({"type": "object", "properties": {}}, JSON, id="empty-object"),
        pytest.param(
            {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": True},
            JSON,
            id="open-object",
        ),
        pytest.param({"type": "array", "items": {"type": "integer"}}, pa.list_(pa.int64()), id="array"),
        pytest.param({"items": {"$ref": "#/$defs/Place"}}, pa.list_(PLACE), id="array-of-objects"),
        pytest.param({"type": "array", "prefixItems": [{"type": "string"}]}, JSON, id="tuple"),
        pytest.param({}, JSON, id="anything"),
        pytest.param(True, JSON, id="true"),
    ],
)
def test_a_property_has_the_arrow_type_that_holds_its_values(schema: object, expected: pa.DataType | str) -> None:
    field = schema_types({"it": schema}, DEFINITIONS).field("it")

    assert (pa.string() if expected == JSON else expected) == field.type
    assert (JSON_TEXT if expected == JSON else None) == field.metadata


def test_what_has_no_type_is_json_at_the_deepest_place() -> None:
    schema = {"type": "object", "properties": {"sure": {"type": "boolean"}, "more": {"type": "array"}}}

    types = schema_types({"it": schema}, {})
    table = parse_responses(['{"it": {"sure": true, "more": [{"a": 1}, "b", 2, null]}}'], types)

    assert [{"sure": True, "more": ['{"a":1}', '"b"', "2", None]}] == table["it"].to_pylist()


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        pytest.param("integer", "3.0", 3, id="whole-number-as-integer"),
        pytest.param("integer", "3.5", None, id="fraction-as-integer"),
        pytest.param("integer", "9223372036854775807", 2**63 - 1, id="largest-integer"),
        pytest.param("integer", "9223372036854775808", None, id="beyond-64-bits"),
        pytest.param("integer", "123456789012345678901234567890", None, id="far-beyond-64-bits"),
        pytest.param("integer", "1e400", None, id="infinite"),
        pytest.param("integer", "true", None, id="boolean-as-integer"),
        pytest.param("integer", '"3"', None, id="string-as-integer"),
        pytest.param("number", "3", 3.0, id="integer-as-number"),
        pytest.param("number", "true", None, id="boolean-as-number"),
        pytest.param("boolean", "1", None, id="integer-as-boolean"),
        pytest.param("string", "1", None, id="integer-as-string"),
        pytest.param("array", '"a"', None, id="string-as-array"),
        pytest.param("object", "null", None, id="null"),
        pytest.param("object", "[" * 500 + "]" * 500, None, id="nested-too-deep"),
    ],
)
def test_a_value_that_fits_is_taken_and_any_other_is_null(type_: str, value: str, expected: object) -> None:
    types = schema_types({"it": {"type": type_}}, {})

    assert [expected] == parse_responses([f'{{"it": {value}}}'], types)["it"].to_pylist()


@pytest.mark.parametrize("response", [None, "", "no JSON", "[1]", '"text"', "{}", '{"it": "\\ud800"}'])
def test_a_response_that_is_no_such_object_gives_nulls(response: str | None) -> None:
    types = schema_types({"it": {"type": "string"}}, {})

    assert [None] == parse_responses(pa.chunked_array([[response]], pa.string()), types)["it"].to_pylist()


def test_the_outputs_columns_are_those_of_the_contract_in_its_order() -> None:
    rows = Columns(pa.schema([("text", pa.string()), ("left", pa.int8())], metadata={"pandas": "{}"}), ["text"])

    success, failure = output_schema(job(), rows, {"mood": {"$ref": "#/$defs/Mood"}}, DEFINITIONS)

    ours = "custom_id model finish_reason input_tokens cached_input_tokens output_tokens cost_usd latency_seconds"
    names = [
        f"llm_{name}" for name in f"{ours} attempts response_id reasoning_tokens usage_estimated answered_by".split()
    ]
    assert ["row_index", "text", "response", "mood", *names] == success.names
    failed = "llm_custom_id llm_error_kind llm_error_message llm_http_status llm_attempts response llm_answered_by"
    assert ["row_index", "text", *failed.split()] == failure.names
    assert pa.decimal128(18, 12) == success.field("llm_cost_usd").type
    assert success.metadata is None


CONFIDENT: dict[str, Any] = {
    "mood": {"$ref": "#/$defs/Mood"},
    "text": {"type": "string"},
    "is_new": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
    "number": {"type": "number"},
    "tags": {"type": "array", "items": {"type": "string"}},
    "either": {"anyOf": [{"type": "string"}, {"type": "number"}]},
}


@pytest.mark.parametrize(
    ("endpoint", "parameters"),
    [
        pytest.param("chat.completions", {"logprobs": True}, id="chat"),
        pytest.param("responses", {"include": ["message.output_text.logprobs"]}, id="responses"),
    ],
)
def test_probabilities_that_a_job_asks_for_have_columns(endpoint: str, parameters: dict[str, Any]) -> None:
    asking = job(endpoint)
    request = asking.request.model_copy(update={"parameters": parameters})
    asking = asking.model_copy(update={"request": request})
    rows = Columns(pa.schema([("text", pa.string())]), [])
    success, _ = output_schema(asking, rows, CONFIDENT, DEFINITIONS)
    sure = ["llm_confidence", "mood_confidence", "text_confidence", "is_new_confidence"]
    found = [Completion("a", '{"mood":"good"}', None, "m", "stop", Usage(), Decimal(0), 0.1, 1, "id", 0.0, told)
             for told in ('{"":0.75,"mood":0.5}', None)]  # fmt: skip

    table = success_columns(answers_table(found), list(success)[1:], list(CONFIDENT))

    assert success.names[-len(sure) :] == sure
    assert [table[name].to_pylist() for name in sure] == [[0.75, None], [0.5, None], [None, None], [None, None]]
    assert table["mood"].to_pylist() == ["good", "good"]
    assert clashing_columns(asking, ["mood_confidence"], ["mood"], sure) == ["mood_confidence"]


def test_embeddings_have_no_response_and_an_id_column_no_row_index() -> None:
    rows = Columns(pa.schema([("sku", pa.string())]), ["sku"])

    success, failure = output_schema(job("embeddings", "sku"), rows, {}, {})

    assert ["sku", "embedding", "llm_custom_id"] == success.names[:3]
    assert pa.list_(pa.float32()) == success.field("embedding").type
    assert failure == failure_schema(success, column_names(job("embeddings", "sku")))


@pytest.mark.parametrize(
    ("endpoint", "carried", "properties", "expected"),
    [
        pytest.param("chat.completions", ["text"], ["mood"], [], id="none"),
        pytest.param("chat.completions", ["text", "mood"], ["mood"], ["mood"], id="input-and-property"),
        pytest.param("chat.completions", ["response"], [], ["response"], id="input-and-ours"),
        pytest.param("chat.completions", ["text"], ["response"], ["response"], id="property-and-ours"),
        pytest.param("chat.completions", ["row_index"], [], ["row_index"], id="row-index"),
        pytest.param("chat.completions", ["llm_error_kind"], [], ["llm_error_kind"], id="only-in-failures"),
        pytest.param("embeddings", ["response"], [], ["response"], id="response-of-failed-embeddings"),
        pytest.param("chat.completions", ["embedding"], [], [], id="embedding-without-embeddings"),
        pytest.param("embeddings", ["embedding"], [], ["embedding"], id="embedding"),
        pytest.param("chat.completions", ["a", "a"], [], ["a"], id="input-twice"),
    ],
)
def test_a_name_that_the_output_would_hold_twice_clashes(
    endpoint: str, carried: list[str], properties: list[str], expected: list[str]
) -> None:
    assert expected == clashing_columns(job(endpoint), carried, properties)
