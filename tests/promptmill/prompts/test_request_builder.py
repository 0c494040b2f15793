"""Rows become requests: the bytes that are sent, and how many tokens they are."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.errors import JobError
from promptmill.job.identity import request_digest
from promptmill.job.spec import RequestSpec
from promptmill.prompts.request_builder import RequestBuilder, RowUnrenderable
from promptmill.prompts.response_schema import ResponseSchema
from promptmill.prompts.tokens import LOW_DETAIL_TOKENS, MEDIA_TOKENS, media_tokens
from tests.support.rendering import LETTERS, builder_of, render

SCHEMA = ResponseSchema({"type": "object", "properties": {"reason": {"type": "string"}, "label": {"enum": ["a", "b"]}}})


def test_a_chat_request_has_the_bytes_that_the_api_takes() -> None:
    spec = RequestSpec(
        model="gpt-6-luna",
        system="You label.",
        user="Review: {{ text }}",
        parameters={"temperature": 0, "max_completion_tokens": 64},
    )
    builder = RequestBuilder(spec, ["text"], SCHEMA, LETTERS)
    request = builder.build({"text": 'a "b" \n'}, 7)
    messages = [{"role": "system", "content": "You label."}, {"role": "user", "content": 'Review: a "b" \n'}]
    body = {
        "model": "gpt-6-luna",
        "messages": messages,
        "response_format": SCHEMA.response_format(),
        "temperature": 0,
        "max_completion_tokens": 64,
    }

    assert body == json.loads(request.body) == builder.preview(request)
    assert sorted(body) == list(json.loads(request.body))
    assert 64 == request.max_output_tokens == builder.max_output_tokens
    assert f"{request_digest('chat.completions', request.body)}-00000007" == request.custom_id


def test_a_responses_request_has_the_bytes_that_the_api_takes() -> None:
    spec = RequestSpec.model_validate(
        {
            "endpoint": "responses",
            "model": "m",
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [{"type": "input_text", "text": "{{ text }}"}]},
            ],
            "parameters": {"max_output_tokens": 9, "reasoning": {"effort": "low"}},
        }
    )
    builder = RequestBuilder(spec, ["text"], SCHEMA, LETTERS)
    body = {
        "model": "m",
        "input": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        ],
        "text": {"format": SCHEMA.text_format()},
        "max_output_tokens": 9,
        "reasoning": {"effort": "low"},
    }

    assert body == builder.preview(builder.build({"text": "hi"}, 0))
    assert 9 == builder.max_output_tokens


def test_each_string_of_a_content_part_is_a_template_at_any_depth() -> None:
    parts = [
        {"type": "text", "text": "What is {{ thing }}?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,{{ image | b64 }}", "detail": "low"}},
    ]
    spec = RequestSpec.model_validate({"model": "m", "messages": [{"role": "user", "content": parts}]})
    builder = RequestBuilder(spec, ["thing", "image"], None, LETTERS)
    request = builder.build({"thing": "this", "image": b"\x00\xff"}, 0)
    sent = builder.preview(request)["messages"][0]["content"]

    assert {"type": "text", "text": "What is this?"} == sent[0]
    assert {"url": "data:image/png;base64,AP8=", "detail": "low"} == sent[1]["image_url"]
    assert 3 + len("user") + len("What is this?") + LOW_DETAIL_TOKENS + 3 == request.input_tokens


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        pytest.param({"type": "image_url", "image_url": {"url": "{{ a }}"}}, MEDIA_TOKENS, id="chat"),
        pytest.param(
            {"type": "image_url", "image_url": {"url": "{{ a }}", "detail": "low"}}, LOW_DETAIL_TOKENS, id="low"
        ),
        pytest.param({"type": "image_url", "image_url": {"url": "{{ a }}", "detail": "high"}}, MEDIA_TOKENS, id="high"),
        pytest.param({"type": "image_url", "image_url": "{{ a }}"}, MEDIA_TOKENS, id="a-bare-address"),
        pytest.param(
            {"type": "input_image", "image_url": "{{ a }}", "detail": "low"}, LOW_DETAIL_TOKENS, id="responses"
        ),
        pytest.param({"type": "input_audio", "input_audio": {"data": "{{ a }}"}}, MEDIA_TOKENS, id="sound"),
    ],
)
def test_a_part_without_text_is_estimated_by_its_detail(part: dict[str, Any], expected: int) -> None:
    assert media_tokens(part) == expected


def test_embeddings_share_an_http_request_and_keep_their_own_ids() -> None:
    spec = RequestSpec(endpoint="embeddings", model="e", input="{{ a }} {{ b }}", parameters={"dimensions": 8})
    builder = RequestBuilder(spec, ["a", "b"], None, LETTERS)
    one, two = builder.build({"a": "x", "b": "y"}, 1), builder.build({"a": "é", "b": '"'}, 2)
    body = builder.embeddings_body([one.body, two.body])
    alone = b'{"dimensions":8,"input":"x y","model":"e"}'

    assert '"x y"' == one.body.decode()
    assert {"input": ["x y", 'é "'], "model": "e", "dimensions": 8, "encoding_format": "base64"} == json.loads(body)
    assert f"{request_digest('embeddings', alone)}-00000001" == one.custom_id
    assert ["x y"] == builder.preview(one)["input"]
    assert (3, 0) == (one.input_tokens, one.max_output_tokens)


def test_the_jobs_own_encoding_format_is_kept() -> None:
    spec = RequestSpec(
        endpoint="embeddings", model="e", input="x", same_for_all=True, parameters={"encoding_format": "float"}
    )
    builder = RequestBuilder(spec, [], None, LETTERS)

    assert "float" == json.loads(builder.embeddings_body([b'"x"']))["encoding_format"]


def test_an_empty_input_is_not_sent() -> None:
    spec = RequestSpec(endpoint="embeddings", model="e", input='{{ text or "" }}')

    with pytest.raises(RowUnrenderable, match="refuses empty strings"):
        RequestBuilder(spec, ["text"], None, LETTERS).build({"text": None}, 0)


@given(text=st.text(st.characters(codec=None)))
def test_any_text_is_sent_as_it_is_or_refused(text: str) -> None:
    """Lone surrogates are no Unicode; all else arrives unchanged, whatever it looks like."""
    builder = builder_of("<{{ text }}>", ["text"])
    if any("\ud800" <= character <= "\udfff" for character in text):
        with pytest.raises(RowUnrenderable, match="surrogate"):
            builder.build({"text": text}, 0)
        return
    request = builder.build({"text": text}, 0)

    assert f"<{text}>" == builder.preview(request)["messages"][0]["content"]
    assert orjson.dumps(json.loads(request.body), option=orjson.OPT_SORT_KEYS) == request.body


def test_a_rows_text_is_never_a_template() -> None:
    assert "{{ 7 * 7 }} {% if %}" == render("{{ text }}", {"text": "{{ 7 * 7 }} {% if %}"})


def test_constant_texts_count_as_tokens_too() -> None:
    spec = RequestSpec(model="m", system="1234{# a comment #}", user="{{ text }}")
    request = RequestBuilder(spec, ["text"], SCHEMA, LETTERS).build({"text": "12345"}, 0)
    schema = len(orjson.dumps(SCHEMA.strict_schema))

    assert (3 + 6 + 4) + (3 + 4 + 5) + 3 + schema == request.input_tokens


def test_a_template_keeps_its_last_newline() -> None:
    assert "a\nb\n" == render("a\n{{ x }}\n", {"x": "b"})


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param({"user": "Classify: "}, id="user"),
        pytest.param({"system": "Be brief.", "user": "{% set a = 1 %}{{ a }}"}, id="own-variable"),
        pytest.param({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, id="parts"),
        pytest.param({"endpoint": "embeddings", "input": "x"}, id="embeddings"),
    ],
)
def test_a_prompt_that_is_the_same_for_every_row_is_refused_unless_the_job_wants_it(asked: dict[str, Any]) -> None:
    with pytest.raises(JobError, match=r"no template of the request uses a column.*\{\{ text \}\}.*same_for_all: true"):
        RequestBuilder(RequestSpec.model_validate({"model": "m", **asked}), ["text"], None, LETTERS)

    wanted = RequestSpec.model_validate({"model": "m", "same_for_all": True, **asked})
    assert RequestBuilder(wanted, ["text"], None, LETTERS).columns == frozenset()


@pytest.mark.parametrize(
    ("parameters", "limit"),
    [
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6, "max_tokens": 5}, 6),
        ({"max_output_tokens": 7}, 7),
        ({"max_tokens": None}, None),
    ],
)
def test_the_output_limit_is_found(parameters: dict[str, Any], limit: int | None) -> None:
    spec = RequestSpec(model="m", user="x", same_for_all=True, parameters=parameters)

    assert limit == RequestBuilder(spec, [], None, LETTERS).max_output_tokens


@pytest.mark.parametrize("limit", ["64", 0, -1, True, 1.5])
def test_an_invalid_output_limit_is_refused(limit: Any) -> None:
    spec = RequestSpec(model="m", user="x", same_for_all=True, parameters={"max_tokens": limit})

    with pytest.raises(JobError, match="max_tokens"):
        RequestBuilder(spec, [], None, LETTERS)


def test_parameters_that_json_cannot_hold_are_refused() -> None:
    spec = RequestSpec(model="m", user="x", same_for_all=True, parameters={"seed": 2**70})

    with pytest.raises(JobError, match="64 bits"):
        RequestBuilder(spec, [], None, LETTERS)
