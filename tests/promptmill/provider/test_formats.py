"""A run finds out how its provider takes a schema, and no row pays for that."""

# ruff: noqa: E501 - one shape, one line

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import orjson
import pytest

from promptmill.errors import RunStopped
from promptmill.job.request_spec import RequestSpec, StructuredMode
from promptmill.prompts.request_builder import RequestBuilder
from promptmill.prompts.response_schema import ResponseSchema
from promptmill.provider.error_body import read_error
from promptmill.provider.evidence import MOST_UNPROVEN, Evidence
from promptmill.provider.formats import MOST_OUT, Formats, refuses_format
from promptmill.provider.transport import RawAnswer
from promptmill.provider.verdict import verdict_on
from promptmill.records import Completion, Failure, Result
from tests.support.asking import answer_each
from tests.support.rendering import LETTERS

SCHEMA = ResponseSchema({"type": "object", "properties": {"label": {"type": "string"}}})
POS = b'{"choices":[{"message":{"content":"{\\"label\\":\\"pos\\"}"},"finish_reason":"stop"}]}'
TEMPERATURE = {"message": "Unsupported value: 'temperature'", "param": "temperature", "code": "unsupported_value"}

REFUSALS = [  # provider, source, date; HTTP status, body
    pytest.param(
        400,
        {"error": {"message": "This response_format type is unavailable now", "type": "invalid_request_error", "param": None}},
        id="DeepSeek, ItzCrazyKns/Vane#969, 2026-01-04",
    ),
    pytest.param(
        422,
        "Failed to deserialize the JSON body into the target type: response_format: response_format.type `json_schema` is unavailable now",
        id="DeepSeek, dzhng/deep-research#22, 2025-02-07",
    ),
    pytest.param(
        400,
        {
            "error": {
                "message": "Invalid parameter: 'response_format' of type 'json_schema' is not supported with model version `gpt-4o`.",
                "type": "invalid_request_error",
                "param": "response_format",
                "code": None,
            }
        },
        id="OpenAI, openai/openai-dotnet#276, 2024-10-30",
    ),
    pytest.param(
        400, {"error": "'response_format.type' must be 'json_schema'"}, id="LM Studio, its bug tracker#307, 2025-01-15"
    ),
    pytest.param(
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "The response_format parameter is unsupported at the moment. Leave it unset.",
        },
        id="xAI, BerriAI/litellm#6610, 2024-11-06",
    ),
    pytest.param(
        400,
        {"error": {"message": "'response_format' : one of the following must be satisfied[('response_format.type' : value is not one of the allowed values ['text'])]", "type": "invalid_request_error"}},
        id="Groq, vercel/ai#7808, 2025-08-05",
    ),
    pytest.param(
        400,
        {"error": {"message": "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.", "type": "invalid_request_error"}},
        id="Groq, vercel/ai#7303, 2025-07-15",
    ),
    pytest.param(
        400,
        {"object": "error", "message": "The provided JSON schema contains features not supported by xgrammar.", "type": "BadRequestError", "param": None, "code": 400},
        id="vLLM, vllm-project/vllm#26421, 2025-10-08",
    ),
    pytest.param(
        500, {"error": {"message": 'Grammar error: Unimplemented keys: ["propertyNames"]', "type": "InternalServerError"}},
        id="vLLM, noonghunna/club-3090#45, 2026-05-04",
    ),
    pytest.param(
        400, {"error": {"message": 'Either "json_schema" or "grammar" can be specified, but not both', "code": 400}},
        id="llama.cpp, ggml-org/llama.cpp#11847, 2025-02-13",
    ),
    pytest.param(
        422,
        {"detail": [{"loc": ["body", "response_format", "type"], "msg": "unexpected value; permitted: 'text'", "type": "value_error.const"}]},
        id="FastAPI servers, form of pydantic's errors, from memory",
    ),
    pytest.param(
        404, {"error": {"message": "No endpoints found that can handle the requested parameters.", "code": 404}},
        id="OpenRouter, from memory",
    ),
]  # fmt: skip
OTHERS = [
    pytest.param(400, {"error": TEMPERATURE}, id="another-parameter"),
    pytest.param(401, {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}, id="key"),
    pytest.param(429, {"error": {"message": "Rate limit reached for response_format", "code": "rate_limit_exceeded"}}, id="limit"),
    pytest.param(400, {"error": {"message": "maximum context length is 8192 tokens, with the json_schema", "code": "context_length_exceeded"}}, id="length"),
    pytest.param(500, {"error": {"message": "The server had an error", "type": "server_error"}}, id="server"),
    pytest.param(400, {"error": {"message": "the text has bad grammar", "type": "invalid_request_error"}}, id="row"),
]  # fmt: skip


def refusal(status: int, body: Any) -> RawAnswer:
    return RawAnswer(status, {}, body.encode() if isinstance(body, str) else orjson.dumps(body))


@pytest.mark.parametrize(("status", "body"), REFUSALS)
def test_recorded_refusal_of_a_format_is_known_as_one(status: int, body: Any) -> None:
    raw = refusal(status, body)

    assert refuses_format(verdict_on(status, {}, read_error(raw.content, ()), 0))


@pytest.mark.parametrize(("status", "body"), OTHERS)
def test_refusal_for_another_reason_changes_no_format(status: int, body: Any) -> None:
    raw = refusal(status, body)

    assert not refuses_format(verdict_on(status, {}, read_error(raw.content, ()), 0))


def builder_of(mode: str = "auto", **request: Any) -> RequestBuilder:
    spec = RequestSpec.model_validate(
        {"model": "m", "user": "Rate {{ text }}", "response_schema": "{}", "structured": mode, **request}
    )
    return RequestBuilder(spec, ["text"], SCHEMA, LETTERS)


def mode_of(body: dict[str, Any]) -> StructuredMode:
    """The mode that a body is in."""
    if "tools" in body:
        return "tool"
    if "response_format" in body or "text" in body:
        form = body["response_format"] if "response_format" in body else body["text"]["format"]
        return form["type"]
    return "prompt"


class Server:
    """Answers as told by mode and the number of the request (0 = first); remembers what it was asked."""

    def __init__(self, behave: Callable[[StructuredMode, int], RawAnswer]) -> None:
        self._behave = behave
        self.asked: list[StructuredMode] = []

    async def post(self, body: bytes) -> RawAnswer:
        self.asked.append(mode_of(orjson.loads(body)))
        number = len(self.asked) - 1
        await asyncio.sleep(0.05)
        return self._behave(self.asked[number], number)


def answer_all(server: Server, builder: RequestBuilder, rows: int = 40) -> Sequence[Result | RunStopped]:
    modes = builder.structured
    assert modes is not None
    formats = Formats(modes.modes, modes.write, modes.tokens)
    evidence = Evidence(most_out=MOST_OUT if formats.is_learning else MOST_UNPROVEN)
    requests = [builder.build({"text": f"row {number}"}, number) for number in range(rows)]
    return answer_each(server, requests, validate=SCHEMA.validate, evidence=evidence, formats=formats)


@pytest.mark.parametrize(("status", "body"), REFUSALS)
@pytest.mark.parametrize("taken", ["json_object", "prompt"])
def test_run_goes_on_in_the_strongest_mode_that_is_taken(
    status: int, body: Any, taken: StructuredMode, caplog: pytest.LogCaptureFixture
) -> None:
    weaker = {"json_object": ("json_object", "prompt"), "prompt": ("prompt",)}[taken]
    server = Server(lambda mode, _: RawAnswer(200, {}, POS) if mode in weaker else refusal(status, body))

    results = answer_all(server, builder_of())

    assert all(isinstance(result, Completion) for result in results)
    refused = [mode for mode in server.asked if mode not in weaker]
    assert len(refused) <= 4
    assert set(server.asked) - set(refused) == {taken}
    assert f"request.structured: {taken}" in caplog.text


def test_format_that_nobody_takes_stops_the_run_with_what_to_do() -> None:
    server = Server(lambda _, __: refusal(400, {"error": {"message": "no", "param": "response_format"}}))

    results = answer_all(server, builder_of())

    assert len(server.asked) <= 16, server.asked
    assert all(isinstance(result, RunStopped) for result in results)


def test_mode_of_the_job_is_kept_and_its_refusal_names_the_key() -> None:
    server = Server(lambda _, __: refusal(400, {"error": {"message": "no", "param": "response_format"}}))

    results = answer_all(server, builder_of("json_object"))

    assert set(server.asked) == {"json_object"}
    assert len(server.asked) <= 8
    assert all("request.structured" in str(result) for result in results)


PROSE = RawAnswer(200, {}, b'{"choices":[{"message":{"content":"It is positive."},"finish_reason":"stop"}]}')


@pytest.mark.parametrize("followed", ["json_object", "prompt"])
def test_server_that_ignores_the_format_is_asked_in_the_prompt(followed: StructuredMode) -> None:
    modes = ("json_object", "prompt") if followed == "json_object" else ("prompt",)
    server = Server(lambda mode, _: RawAnswer(200, {}, POS) if mode in modes else PROSE)

    results = answer_all(server, builder_of(), rows=60)

    answered = [result for result in results if isinstance(result, Completion)]
    assert len(answered) >= 60 - 8 * (followed == "prompt")  # a row is asked twice, and eight are under way
    assert set(server.asked[-10:]) == {followed}


def test_single_answers_that_are_no_json_change_no_mode() -> None:
    server = Server(lambda _, number: PROSE if number in {0, 5, 6, 7, 20} else RawAnswer(200, {}, POS))

    results = answer_all(server, builder_of(), rows=60)

    assert all(isinstance(result, Completion) for result in results)
    assert server.asked.count("json_object") <= 1  # before any answer was right
    assert set(server.asked[-30:]) == {"json_schema"}


def test_single_refusals_amid_answers_weaken_single_rows_only() -> None:
    """A gateway sends each tenth request to a server that takes no schema."""
    server = Server(
        lambda mode, number: (
            refusal(400, {"error": {"message": "no response_format here"}})
            if mode == "json_schema" and number % 10 == 9
            else RawAnswer(200, {}, POS)
        )
    )

    results = answer_all(server, builder_of(), rows=100)

    assert all(isinstance(result, Completion) for result in results)
    assert 5 < server.asked.count("json_object") < 20


def test_provider_that_takes_no_schema_any_more_changes_the_mode_of_the_run() -> None:
    server = Server(
        lambda mode, number: (
            refusal(400, {"error": {"message": "no response_format here"}})
            if mode == "json_schema" and number > 20
            else RawAnswer(200, {}, POS)
        )
    )

    results = answer_all(server, builder_of(), rows=100)

    assert all(isinstance(result, Completion) for result in results)
    assert server.asked.count("json_schema") < 40


def test_parameter_that_the_model_refuses_stops_the_run_after_a_handful() -> None:
    server = Server(lambda _, __: refusal(400, {"error": TEMPERATURE}))

    results = answer_all(server, builder_of())

    assert len(server.asked) <= 2
    assert not any(isinstance(result, Failure) for result in results)


KEPT_BACK = refusal(400, {"error": {"message": "Failed to generate JSON.", "code": "json_validate_failed"}})


@pytest.mark.parametrize(
    ("attempts", "kind"),
    [
        pytest.param([KEPT_BACK, RawAnswer(200, {}, POS)], None, id="answered-at-the-second"),
        pytest.param([KEPT_BACK, KEPT_BACK], "invalid_response", id="twice"),
        pytest.param(
            [KEPT_BACK, RawAnswer(200, {}, POS.replace(b"label", b"other"))], "invalid_response", id="then-invalid"
        ),
        pytest.param(
            [RawAnswer(200, {}, POS.replace(b"label", b"other")), KEPT_BACK], "invalid_response", id="after-invalid"
        ),
    ],
)
def test_answer_that_the_provider_keeps_back_is_asked_for_once_more(
    attempts: list[RawAnswer], kind: str | None
) -> None:
    server = Server(lambda _, number: attempts[min(number, len(attempts) - 1)])

    (result,) = answer_all(server, builder_of(), rows=1)

    assert server.asked == ["json_schema"] * len(attempts)
    assert (result.kind if isinstance(result, Failure) else None) == kind


@pytest.mark.parametrize(
    ("generated", "asked", "is_answered"),
    [
        pytest.param('{"label":"pos"}', 1, True, id="valid"),
        pytest.param('```json\n{"label":"pos"}\n```', 1, True, id="valid-in-a-fence"),
        pytest.param('{"other":"pos"}', 2, False, id="of-another-schema"),
        pytest.param('{"label":"p', 2, False, id="cut"),
        pytest.param("sorry", 2, False, id="no-json"),
        pytest.param("", 2, False, id="empty"),
        pytest.param({"label": "pos"}, 2, False, id="no-text"),
    ],
)
def test_answer_that_the_provider_keeps_back_and_shows_is_taken_if_it_is_valid(
    generated: object, asked: int, is_answered: bool
) -> None:
    error = {"message": "Failed to generate JSON.", "code": "json_validate_failed", "failed_generation": generated}
    server = Server(lambda _, __: refusal(400, {"error": error}))

    (result,) = answer_all(server, builder_of(), rows=1)

    assert len(server.asked) == asked
    assert isinstance(result, Completion) is is_answered
    assert not isinstance(result, RunStopped)
    assert result.usage.is_estimated is is_answered


def test_rows_whose_answers_are_all_kept_back_fail_and_stop_nothing() -> None:
    server = Server(lambda _, __: KEPT_BACK)

    results = answer_all(server, builder_of(), rows=20)

    assert {result.kind for result in results if isinstance(result, Failure)} == {"invalid_response"}
    assert len(server.asked) == 40


@pytest.mark.parametrize("endpoint", ["chat.completions", "responses"])
@pytest.mark.parametrize("mode", ["auto", "json_schema", "json_object", "prompt", "tool"])
def test_identity_of_a_request_is_the_same_in_every_mode(endpoint: str, mode: str) -> None:
    job: dict[str, Any] = {"endpoint": endpoint, "system": "You rate."}
    builder = builder_of(mode, **job)
    request = builder.build({"text": "x"}, 1)

    assert request.custom_id == builder_of(**job).build({"text": "x"}, 1).custom_id
    assert mode_of(orjson.loads(builder.first_body(request))) == ("json_schema" if mode == "auto" else mode)


@pytest.mark.parametrize("mode", ["json_object", "prompt"])
@pytest.mark.parametrize(
    "messages",
    [
        pytest.param({"user": "{{ text }}"}, id="user"),
        pytest.param({"user": "{{ text }}", "system": "You rate."}, id="system"),
        pytest.param(
            {"user": None, "messages": [{"role": "user", "content": [{"type": "text", "text": "{{ text }}"}]}]},
            id="parts",
        ),
    ],
)
def test_weaker_modes_put_the_schema_into_the_prompt(mode: str, messages: dict[str, Any]) -> None:
    builder = builder_of(mode, **messages)
    asked = orjson.loads(builder.first_body(builder.build({"text": "a row"}, 1)))

    schema = orjson.dumps(SCHEMA.strict_schema).decode()
    assert schema in orjson.dumps(asked["messages"]).decode().replace('\\"', '"')
    assert len(asked["messages"]) == 1 + ("system" in messages)
    assert "a row" in str(asked["messages"][-1])
