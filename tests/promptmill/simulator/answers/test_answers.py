"""Answers as values: valid for their schema, the same for the same request, and steered by marks in the prompt."""

import json
from random import Random

import jsonschema
import pytest

from promptmill.simulator.answers.calls import read_chat
from promptmill.simulator.answers.reply import Reply, reply_to
from promptmill.simulator.answers.samples import sample_document
from promptmill.simulator.answers.strict_schema import require_strict
from promptmill.simulator.errors import ApiError
from promptmill.simulator.options import SimulatorOptions
from promptmill.simulator.usage import load_tokenizer
from promptmill.simulator.wire import JsonObject, JsonValue, body_digest

OPTIONS = SimulatorOptions()
TOKENIZER = load_tokenizer("estimate")


def strict(**properties: JsonValue) -> JsonObject:
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }


TREE: JsonObject = {
    **strict(root={"$ref": "#/$defs/node"}),
    "$defs": {
        "node": strict(
            label={"type": "string"},
            parent={"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            children={"type": "array", "items": {"$ref": "#/$defs/node"}},
        )
    },
}
SCHEMAS = [
    pytest.param(strict(label={"type": "string", "enum": ["good", "bad"]}), id="enum"),
    pytest.param(strict(kind={"const": "review"}, on={"type": "boolean"}), id="const"),
    pytest.param(strict(stars={"type": "integer", "minimum": 1, "maximum": 5}), id="bounded-integer"),
    pytest.param(strict(n={"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5}), id="exclusive-integer"),
    pytest.param(strict(n={"type": "integer", "maximum": -7, "multipleOf": 7}), id="multiple"),
    pytest.param(strict(x={"type": "number", "exclusiveMinimum": 0, "maximum": 1}), id="bounded-number"),
    pytest.param(strict(x={"type": "number", "minimum": 2, "maximum": 2}), id="exact-number"),
    pytest.param(strict(tags={"type": "array", "items": {"type": "string"}, "minItems": 4, "maxItems": 5}), id="array"),
    pytest.param(strict(none={"type": "array", "items": {"type": "string"}, "maxItems": 0}), id="empty-array"),
    pytest.param(strict(maybe={"anyOf": [{"type": "integer"}, {"type": "null"}]}), id="nullable-union"),
    pytest.param(strict(maybe={"type": ["string", "null"]}), id="type-list"),
    pytest.param(strict(code={"type": "string", "minLength": 40, "maxLength": 41}), id="length"),
    pytest.param(
        strict(day={"type": "string", "format": "date"}, at={"type": "string", "format": "email"}), id="format"
    ),
    pytest.param(strict(inner=strict(deep=strict(x={"type": "number"}))), id="nested"),
    pytest.param(TREE, id="recursive"),
]


def reply(text: str, options: SimulatorOptions = OPTIONS, **fields: JsonValue) -> Reply:
    body: JsonObject = {"model": "m", "messages": [{"role": "user", "content": text}], **fields}
    return reply_to(read_chat(body, options, TOKENIZER), body_digest(body), options, TOKENIZER)


def as_format(schema: JsonObject) -> JsonObject:
    return {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_documents_are_valid_for_their_schema(schema: JsonObject) -> None:
    require_strict(schema, "x", "response_format")
    for seed in range(30):
        document = sample_document(schema, Random(seed))
        jsonschema.validate(document, schema, format_checker=jsonschema.FormatChecker())


def test_answers_depend_on_the_request_and_the_seed_alone() -> None:
    schema = as_format(strict(x={"type": "integer"}))

    assert reply("a", response_format=schema) == reply("a", response_format=schema)
    assert len({reply(str(n), response_format=schema).text for n in range(20)}) > 5
    assert reply("a").text != reply("a", SimulatorOptions(seed=1)).text


def test_an_answer_line_is_repeated_as_it_is() -> None:
    assert reply('Label this.\nANSWER: {"label": "good"}').text == '{"label": "good"}'


def test_reply_option_is_filled_in() -> None:
    assert reply("hello {x}", SimulatorOptions(reply="{model}: {prompt}")).text == "m: hello {x}"


def test_answer_is_cut_at_the_output_limit() -> None:
    cut = reply("a", max_completion_tokens=2)

    assert (cut.finish_reason, cut.usage.output_tokens, len(cut.text)) == ("length", 2, 8)


def test_reasoning_comes_out_of_the_output_limit() -> None:
    cut = reply("a", SimulatorOptions(reasoning_tokens=50), max_completion_tokens=10)

    assert (cut.text, cut.finish_reason) == ("", "length")
    assert (cut.usage.output_tokens, cut.usage.reasoning_tokens) == (10, 10)


def test_poisoned_answers_go_wrong_in_their_own_way() -> None:
    schema = as_format(strict(label={"type": "string"}))

    assert reply("POISON-FILTER").finish_reason == "content_filter"
    assert reply("POISON-REFUSAL").refusal is not None
    assert reply("POISON-TRUNCATE").finish_reason == "length"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(
            json.loads(reply("POISON-SCHEMA", response_format=schema).text), strict(label={"type": "string"})
        )


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        pytest.param({"type": "array", "items": {"type": "string"}}, 'type: "object"', id="root"),
        pytest.param({**strict(a={"type": "string"}), "additionalProperties": True}, "additionalProperties", id="open"),
        pytest.param({**strict(a={"type": "string"}), "required": []}, "Missing 'a'", id="optional"),
        pytest.param(strict(a={"type": "object", "properties": {}}), r"\('properties', 'a'\)", id="nested"),
        pytest.param(strict(a={"oneOf": [{"type": "string"}]}), "'oneOf' is not permitted", id="one-of"),
        pytest.param(strict(a={"description": "?"}), "must have a 'type' key", id="untyped"),
    ],
)
def test_schema_that_is_not_strict_is_refused(schema: JsonObject, problem: str) -> None:
    with pytest.raises(ApiError, match=problem) as refused:
        reply("a", response_format=as_format(schema))

    assert (refused.value.status, refused.value.error["param"]) == (400, "response_format")
