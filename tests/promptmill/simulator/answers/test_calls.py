"""A body that the provider couldn't read is refused with the name of the field that is wrong."""

import pytest

from promptmill.simulator.answers.calls import read_chat, read_response
from promptmill.simulator.errors import ApiError
from promptmill.simulator.options import SimulatorOptions
from promptmill.simulator.usage import load_tokenizer
from promptmill.simulator.wire import JsonObject, JsonValue

OPTIONS = SimulatorOptions()
TOKENIZER = load_tokenizer("estimate")
SAID: JsonValue = [{"role": "user", "content": "x"}]


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        pytest.param({"model": 3}, None, id="model"),
        pytest.param({"messages": None}, "messages", id="no-messages"),
        pytest.param({"messages": "x"}, "messages", id="text-for-messages"),
        pytest.param({"messages": []}, "messages", id="empty-messages"),
        pytest.param({"messages": ["x"]}, "messages[0].role", id="message-without-role"),
        pytest.param({"messages": [{"role": "user", "content": 3}]}, "messages[0].content", id="number-as-content"),
        pytest.param({"max_completion_tokens": 8, "max_tokens": 8}, "max_tokens", id="two-limits"),
        pytest.param({"max_tokens": "8"}, "max_tokens", id="text-for-a-limit"),
        pytest.param({"max_tokens": 0}, "max_tokens", id="no-tokens"),
        pytest.param({"n": True}, "n", id="truth-as-count"),
        pytest.param({"stream": True}, "stream", id="stream"),
        pytest.param({"response_format": "json_object"}, "response_format", id="text-for-a-format"),
        pytest.param({"response_format": {"type": "xml"}}, "response_format.type", id="unknown-format"),
        pytest.param(
            {"response_format": {"type": "json_schema"}}, "response_format.json_schema.name", id="schema-without-name"
        ),
    ],
)
def test_a_chat_that_nobody_could_read_is_refused(changes: JsonObject, param: str | None):
    with pytest.raises(ApiError) as refused:
        read_chat({"model": "gpt-6-luna", "messages": SAID, **changes}, OPTIONS, TOKENIZER)

    assert (refused.value.status, refused.value.error["param"]) == (400, param)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        pytest.param({"input": None}, "input", id="no-input"),
        pytest.param({"input": 3}, "input", id="number-as-input"),
        pytest.param({"text": {"format": {"type": "json_schema"}}}, "text.format.name", id="schema-without-name"),
    ],
)
def test_a_response_that_nobody_could_read_is_refused(changes: JsonObject, param: str):
    with pytest.raises(ApiError) as refused:
        read_response({"model": "gpt-6-luna", "input": "x", **changes}, OPTIONS, TOKENIZER)

    assert (refused.value.status, refused.value.error["param"]) == (400, param)


def test_a_message_without_content_says_nothing_and_instructions_come_first():
    call = read_response(
        {"model": "gpt-6-luna", "instructions": "first", "input": [{"role": "user", "content": None}]},
        OPTIONS,
        TOKENIZER,
    )

    assert (call.text, call.last_text) == ("first\n", "")


def test_a_request_beyond_the_context_window_is_refused():
    narrow = SimulatorOptions(context_window=20)

    with pytest.raises(ApiError, match="maximum context length"):
        read_chat({"model": "gpt-6-luna", "messages": SAID, "max_tokens": 20}, narrow, TOKENIZER)
