"""Online requests over the wire, with the real SDK."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletion

from promptmill.simulator import Simulator

MODEL = "gpt-6-luna"
HANG_SECONDS = 0.2  # waited for an answer that doesn't come
PATIENCE_SECONDS = 30.0  # waited for one that does
SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string", "enum": ["good", "bad"]}},
    "required": ["label"],
    "additionalProperties": False,
}


def ask(client: OpenAI, text: str = "hello", **fields: Any) -> ChatCompletion:
    completions: Any = client.chat.completions  # any fields, the wrong ones too
    return completions.create(model=MODEL, messages=[{"role": "user", "content": text}], **fields)


def counters(simulator: Simulator) -> dict[str, int]:
    return simulator.ledger()["counters"]  # pyright: ignore[reportReturnType]


def timeline(simulator: Simulator, name: str) -> list[int]:
    return simulator.timeline()[name]  # pyright: ignore[reportReturnType]


def test_chat_completion_is_answered_and_billed(simulator: Simulator, client: OpenAI) -> None:
    simulator.configure(cached_ratio=0.5)
    answer = ask(client, "x" * 40)

    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.choices[0].finish_reason) == (16, "stop")
    assert simulator.ledger()["models"] == {
        MODEL: {
            "requests": 1,
            "input_tokens": 16,
            "cached_input_tokens": 8,
            "output_tokens": answer.usage.completion_tokens,
        }
    }


def test_same_request_has_the_same_answer_and_is_billed_twice(simulator: Simulator, client: OpenAI) -> None:
    assert ask(client).choices == ask(client).choices
    ledger = simulator.ledger(detail=True)
    assert list(ledger["bodies"].values()) == [2]  # pyright: ignore
    assert ledger["bodies_billed_more_than_once"] == 1


def test_structured_output_is_honoured_by_both_text_endpoints(client: OpenAI) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": SCHEMA}}
    text: Any = {"format": {"type": "json_schema", "name": "x", "strict": True, "schema": SCHEMA}}
    chat = ask(client, response_format=form).choices[0].message.content
    response = client.responses.create(model=MODEL, input="hello", instructions="Label.", text=text)

    assert json.loads(chat or "")["label"] in ("good", "bad")
    assert json.loads(response.output_text)["label"] in ("good", "bad")


def test_response_that_is_cut_is_incomplete(client: OpenAI) -> None:
    response = client.responses.create(model=MODEL, input="hello", max_output_tokens=1)

    assert response.incomplete_details is not None
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert response.usage is not None
    assert response.usage.output_tokens == 1


def test_limits_refuse_in_the_providers_words_with_headers(simulator: Simulator, client: OpenAI) -> None:
    simulator.configure(requests_per_minute=2, tokens_per_minute=1000)
    headers = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=[{"role": "user", "content": "hello"}], max_completion_tokens=92
    ).headers
    ask(client)
    with pytest.raises(openai.RateLimitError, match="Please try again in 29|Please try again in 30") as refused:
        ask(client)

    assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]) == ("2", "1")
    assert headers["x-ratelimit-remaining-tokens"].startswith("90")
    assert headers["x-ratelimit-reset-tokens"] in ("6s", *(f"5.{thousandth}s" for thousandth in range(900, 1000)))
    assert headers["x-request-id"].startswith("req_")
    assert (refused.value.code, refused.value.type) == ("rate_limit_exceeded", "requests")
    assert refused.value.response.headers["retry-after"] == "30"
    assert refused.value.response.headers["x-ratelimit-remaining-requests"] == "0"
    assert sum(timeline(simulator, "requests")) == 2


def test_actual_accounting_charges_real_usage(simulator: Simulator, client: OpenAI) -> None:
    simulator.configure(tokens_per_minute=1000, token_accounting="actual")
    answer = ask(client, max_completion_tokens=900)

    assert answer.usage is not None
    assert sum(timeline(simulator, "tokens")) == answer.usage.total_tokens


def test_concurrent_requests_never_pass_a_limit(simulator: Simulator, client: OpenAI) -> None:
    simulator.configure(requests_per_minute=10, window="sliding")

    def succeeds(number: int) -> bool:
        try:
            ask(client, str(number))
        except openai.RateLimitError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(succeeds, range(24))) == 10
    assert counters(simulator)["rate_limit_429"] == 14


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param("error_500", openai.InternalServerError, id="500"),
        pytest.param("error_503", openai.InternalServerError, id="503"),
        pytest.param("reset", openai.APIConnectionError, id="reset"),
        pytest.param("garbage", json.JSONDecodeError, id="garbage"),
        pytest.param("hang", openai.APITimeoutError, id="hang"),
        pytest.param("rate_limited", openai.RateLimitError, id="rate-limited"),
    ],
)
def test_fault_is_met_once_and_not_billed(
    simulator: Simulator, client: OpenAI, fault: str, error: type[Exception]
) -> None:
    simulator.configure(**{fault: 1.0, "fault_attempts": 1})
    with pytest.raises(error):
        ask(client, timeout=HANG_SECONDS if fault == "hang" else PATIENCE_SECONDS)

    assert simulator.ledger()["totals"]["requests"] == 0  # pyright: ignore
    assert ask(client).choices
    assert counters(simulator)[f"fault_{fault}"] == 1


def test_slow_body_arrives_whole(simulator: Simulator, client: OpenAI) -> None:
    simulator.configure(slow_body=1.0, slow_body_seconds=0.02)

    assert ask(client).choices


@pytest.mark.parametrize(
    ("text", "error", "code"),
    [
        pytest.param("POISON-400", openai.BadRequestError, None, id="400"),
        pytest.param("POISON-LONG", openai.BadRequestError, "context_length_exceeded", id="long"),
        pytest.param("POISON-500", openai.InternalServerError, None, id="500"),
        pytest.param("POISON-HANG", openai.APITimeoutError, None, id="hang"),
    ],
)
def test_poisoned_row_fails_every_time(
    client: OpenAI, text: str, error: type[openai.APIError], code: str | None
) -> None:
    for _ in range(2):
        with pytest.raises(error) as failed:
            ask(client, text, timeout=HANG_SECONDS if text == "POISON-HANG" else PATIENCE_SECONDS)

        assert failed.value.code == code


def test_quota_ends_everything_after_so_many_requests(simulator: Simulator, client: OpenAI) -> None:
    simulator.configure(quota_after=2)
    ask(client)
    ask(client)
    with pytest.raises(openai.RateLimitError) as refused:
        ask(client)

    assert (refused.value.type, refused.value.code) == ("insufficient_quota", "insufficient_quota")
    assert "retry-after" not in refused.value.response.headers


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        pytest.param("/chat/completions", {"max_tokens": 1, "max_completion_tokens": 1}, 400, id="two-limits"),
        pytest.param("/chat/completions", {"stream": True}, 400, id="stream"),
        pytest.param("/chat/completions", {"max_completion_tokens": 0}, 400, id="zero"),
        pytest.param("/chat/completions", {"messages": []}, 400, id="no-messages"),
        pytest.param("/chat/completions", {"messages": "hello"}, 400, id="text-messages"),
        pytest.param("/chat/completions", {"model": None}, 400, id="no-model"),
        pytest.param("/responses", {}, 400, id="no-input"),
        pytest.param("/nowhere", {}, 404, id="path"),
    ],
)
def test_wrong_requests_are_refused(client: OpenAI, path: str, body: dict[str, object], status: int) -> None:
    request = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], **body}
    with pytest.raises(openai.APIStatusError) as refused:
        client.post(path, body=request, cast_to=object)

    assert refused.value.status_code == status


def test_keys_and_models_are_checked(simulator: Simulator, client: OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError):
        ask(client.with_options(api_key="invalid"))
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("unknown")
    simulator.configure(api_key="sk-the-only-one", strict_models=True)
    with pytest.raises(openai.AuthenticationError, match=r"sk-t\*\*\*est"):
        ask(client.with_options(api_key="sk-the-test"))
    with pytest.raises(openai.NotFoundError, match="`unknown` does not exist"):
        client.with_options(api_key="sk-the-only-one").embeddings.create(model="unknown", input="a")


def test_prefix_is_optional_and_models_are_listed(simulator: Simulator) -> None:
    with OpenAI(base_url=simulator.base_url.removesuffix("/v1"), api_key="sk-test", max_retries=0) as client:
        assert MODEL in [model.id for model in client.models.list()]
        assert ask(client).choices


def test_hanging_requests_do_not_hold_up_the_stop() -> None:
    simulator = Simulator().start()
    with OpenAI(base_url=simulator.base_url, api_key="sk-test", max_retries=0) as client, ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(ask, client, "POISON-HANG")
        while not counters(simulator)["in_flight"]:
            pass
        simulator.stop()

        assert isinstance(hanging.exception(timeout=5), openai.APIConnectionError)


def test_a_stop_does_not_wait_by_the_clock_for_idle_connections() -> None:
    fastest = min(seconds_to_stop() for _ in range(5))  # of several: a busy machine may hold up one

    assert fastest < 0.1  # uvicorn alone takes 0.1 to 0.2


def seconds_to_stop() -> float:
    """How long a simulator with an idle connection takes to stop."""
    simulator = Simulator().start()
    with OpenAI(base_url=simulator.base_url, api_key="sk-test", max_retries=0) as client:
        client.models.list()
        began = time.monotonic()
        simulator.stop()
        return time.monotonic() - began
