"""What a request can't say at once: each contradiction is refused with what to remove or add."""

from typing import Any

import pytest

from promptmill.errors import JobError
from promptmill.job.file import parse_job

SCHEMA = {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}
ANY_JSON = {"type": "json_object"}
TOOLS: list[dict[str, Any]] = [{"type": "function", "function": {"name": "f", "parameters": {}}}]


def job_with(**request: Any) -> dict[str, Any]:
    """A job whose request says this besides a model."""
    return {
        "name": "j",
        "input": {"url": "rows.csv"},
        "request": {"model": "gpt-6-luna", **request},
        "output": {"url": "out"},
    }


@pytest.mark.parametrize(
    ("request_values", "words"),
    [
        pytest.param({"user": "x", "parameters": {"model": "m"}}, "model can't be set here", id="model"),
        pytest.param(
            {"user": "x", "parameters": {"response_format": {"type": "json_schema"}}},
            "response_format: from response_schema",
            id="format-by-hand",
        ),
        pytest.param(
            {"user": "x", "endpoint": "responses", "parameters": {"response_format": ANY_JSON}},
            "responses takes no parameters.response_format",
            id="format-of-another-endpoint",
        ),
        pytest.param(
            {
                "user": "x",
                "response_schema": SCHEMA,
                "structured": "json_schema",
                "parameters": {"response_format": ANY_JSON},
            },
            "contradicts structured: json_schema",
            id="two-formats",
        ),
        pytest.param({"user": "x", "structured": "tool"}, "structured: tool needs a response_schema", id="no-schema"),
        pytest.param(
            {"input": "x", "endpoint": "embeddings", "tier": {"prefer": "flex"}}, "tier goes with texts", id="tier"
        ),
        pytest.param(
            {"user": "x", "tier": {"prefer": "flex"}, "parameters": {"service_tier": "flex"}},
            "tier goes with texts",
            id="two-tiers",
        ),
        pytest.param(
            {"user": "x", "response_schema": SCHEMA, "structured": "tool", "parameters": {"tools": TOOLS}},
            "parameters.tools contradicts structured: tool",
            id="two-tools",
        ),
        pytest.param({"user": "x", "endpoint": "embeddings"}, "embeddings take `input`", id="prompt-of-a-vector"),
        pytest.param(
            {"input": "x", "system": "s", "endpoint": "embeddings"}, "embeddings take `input`", id="system-of-a-vector"
        ),
        pytest.param(
            {"input": "x", "endpoint": "embeddings", "response_schema": SCHEMA},
            "embeddings have no response_schema",
            id="schema-of-a-vector",
        ),
        pytest.param({"input": "x"}, r"takes `user` .* got \['input'\]", id="input-of-a-text"),
        pytest.param({"user": "x", "messages": [{"role": "user", "content": "x"}]}, "takes `user`", id="two-prompts"),
        pytest.param(
            {"system": "s", "messages": [{"role": "user", "content": "x"}]},
            "give `system` as the first of `messages`",
            id="system-beside-messages",
        ),
    ],
)
def test_a_request_that_contradicts_itself_is_refused(request_values: dict[str, Any], words: str):
    with pytest.raises(JobError, match=words):
        parse_job(job_with(**request_values))


@pytest.mark.parametrize(
    "request_values",
    [
        pytest.param({"user": "x", "parameters": {"response_format": ANY_JSON}}, id="any-json"),
        pytest.param({"user": "x", "tier": {"prefer": "flex"}}, id="tier"),
        pytest.param({"user": "x", "parameters": {"tools": TOOLS}}, id="tools"),
        pytest.param({"user": "x", "response_schema": SCHEMA, "structured": "tool"}, id="schema-as-tool"),
        pytest.param({"input": "x", "endpoint": "embeddings"}, id="vector"),
    ],
)
def test_what_stands_alone_is_taken(request_values: dict[str, Any]):
    assert parse_job(job_with(**request_values)).request.model == "gpt-6-luna"
