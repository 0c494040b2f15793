"""One odd answer hurts one row: whatever a provider puts into a field, the row's result can be stored."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.batch.files import decode_line
from promptmill.batch.places import find_lines
from promptmill.batch.results import Expected, Reading, read_line, read_slices
from promptmill.checkpoints.answer_files import answers_table, decode_answers, encode_answers
from promptmill.checkpoints.index import hash_custom_id
from promptmill.job.spec import Endpoint, Pricing, RequestSpec, Retry
from promptmill.limits.budget import Budget
from promptmill.limits.places import Places
from promptmill.limits.pricing import PriceList, prices_for
from promptmill.limits.rate_limiter import RateLimiter
from promptmill.prompts.request_builder import RequestBuilder
from promptmill.prompts.tokens import TokenCounter, estimate_tokens
from promptmill.provider.billing import Billing
from promptmill.provider.client import Client
from promptmill.provider.response_body import Unreadable, read_answer
from promptmill.provider.transport import RawAnswer
from promptmill.records import Completion, Failure, Request, Result
from promptmill.runs.completion import complete_request
from promptmill.runs.vectors import complete_pack
from promptmill.stop import Slot, Stop
from tests.support.clock import run_on_clock
from tests.support.odd_answers import EXAMPLES, JSON, ODD_NUMBERS, WELL_FORMED, encode, odd_answers, with_field

ENDPOINTS: list[Endpoint] = ["chat.completions", "responses", "embeddings"]
PRICES = prices_for("gpt-6-luna", None)
ABSURD = prices_for("x", Pricing(input_per_mtok=Decimal("1e30"), output_per_mtok=Decimal("1e30")))
COUNTER = TokenCounter(estimate_tokens, "estimate", is_exact=False)
ROW = Request("0" * 32 + "-00000001", b'"text"', 20, 64)
LONG = settings(max_examples=EXAMPLES, deadline=None)
CHAT_FIELDS = [
    ("id",),
    ("model",),
    ("service_tier",),
    ("choices", 0, "finish_reason"),
    ("choices", 0, "message", "refusal"),
    ("usage",),
    ("usage", "prompt_tokens"),
    ("usage", "completion_tokens"),
    ("usage", "prompt_tokens_details"),
    ("usage", "prompt_tokens_details", "cached_tokens"),
    ("usage", "prompt_tokens_details", "cache_write_tokens"),
]
ODD_VALUES = [None, True, False, "12", "", [], [1], {}, {"a": 1}, *ODD_NUMBERS]


class Fixed:
    """A provider that gives every request the same answer."""

    def __init__(self, content: bytes) -> None:
        self._raw = RawAnswer(200, {}, content)

    async def post(self, body: bytes) -> RawAnswer:
        """The answer."""
        return self._raw


def answer_online(endpoint: Endpoint, content: bytes, prices: PriceList = PRICES) -> list[Result]:
    """The results of one row, or of a pack of one, whose every attempt is answered so."""

    async def scenario() -> list[Result]:
        client = Client(
            sender=Fixed(content),
            endpoint=endpoint,
            limiter=RateLimiter(),
            budget=Budget(None),
            billing=Billing(prices, None, COUNTER.count),
            retry=Retry(max_attempts=2),
            stop=Stop(),
        )
        slot = Slot(Places(1))
        await slot.acquire()
        if endpoint != "embeddings":
            return [await complete_request(client, ROW, slot, None)]
        spec = RequestSpec.model_validate(
            {"endpoint": endpoint, "model": "text-embedding-3-small", "input": "{{ text }}"}
        )
        return await complete_pack(client, RequestBuilder(spec, ["text"], None, COUNTER), [ROW], slot)

    return run_on_clock(scenario())


def answer_by_batch(endpoint: Endpoint, line: Any, prices: PriceList = PRICES) -> list[Result]:
    """The result of one line of a result file; none where the line is torn or of no row."""
    reading = Reading(
        endpoint, Billing(prices, "batch", COUNTER.count, is_tier_fixed=True), None, (), Expected(20, Decimal("0.001"))
    )
    decoded = decode_line(encode(line))
    return [] if decoded is None else [read_line(decoded, reading, 0.0).result]


def assert_storable(results: list[Result]) -> None:
    """They fit into an answer file and cost nothing below zero."""
    table = answers_table(results)

    assert decode_answers(encode_answers(table)).num_rows == len(results)
    for result in results:
        assert result.cost_usd >= 0
        assert 0 <= result.usage.cached_input_tokens <= result.usage.input_tokens
        assert result.usage.output_tokens >= 0


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@given(data=st.data())
@LONG
def test_any_json_in_any_field_of_an_answer_can_be_stored(endpoint: Endpoint, data: st.DataObject) -> None:
    answer = data.draw(odd_answers(endpoint))

    assert_storable(answer_online(endpoint, encode(answer)))


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@given(data=st.data())
@LONG
def test_any_json_in_any_field_of_a_batch_line_can_be_stored(endpoint: Endpoint, data: st.DataObject) -> None:
    line: Any = {
        "custom_id": ROW.custom_id,
        "response": {"status_code": 200, "body": data.draw(odd_answers(endpoint))},
        "error": None,
    }
    for path in data.draw(st.lists(st.sampled_from([("response", "status_code"), ("response",), ("error",)]))):
        line = with_field(line, path, data.draw(JSON))

    assert_storable(answer_by_batch(endpoint, line))


@given(content=st.binary(max_size=60), endpoint=st.sampled_from(ENDPOINTS))
@LONG
def test_a_body_that_is_no_answer_is_unreadable_and_nothing_else(content: bytes, endpoint: Endpoint) -> None:
    with pytest.raises(Unreadable):
        read_answer(endpoint, content, ())


@pytest.mark.parametrize("value", ODD_VALUES, ids=repr)
@pytest.mark.parametrize("path", CHAT_FIELDS, ids=lambda path: ".".join(map(str, path)))
def test_an_odd_field_costs_no_paid_answer(path: tuple[Any, ...], value: Any) -> None:
    """The text is kept, unless the field says that the model refused."""
    content = encode(with_field(WELL_FORMED["chat.completions"], path, value))

    (result,) = answer_online("chat.completions", content)

    assert result.response == "yes"
    assert isinstance(result, Failure if path[-1] == "refusal" and value else Completion)
    assert_storable([result])


@pytest.mark.parametrize("answer", [answer_online, answer_by_batch], ids=["online", "batch"])
def test_a_price_beyond_the_money_column_is_stored_as_the_most_it_holds(answer: Callable[..., list[Result]]) -> None:
    body = WELL_FORMED["chat.completions"]
    line = {"custom_id": ROW.custom_id, "response": {"status_code": 200, "body": body}, "error": None}

    results = answer("chat.completions", encode(body) if answer is answer_online else line, ABSURD)

    assert_storable(results)
    assert results[0].cost_usd == Decimal("999999.999999999999")


@pytest.mark.parametrize("depth", [200, 300, 1_000])
def test_a_deeply_nested_field_is_one_rows_failure_at_most(depth: int) -> None:
    nested = b'{"a":' * depth + b"1" + b"}" * depth
    content = encode(with_field(WELL_FORMED["chat.completions"], ("choices", 0, "message", "content"), "@"))
    body = content.replace(b'"@"', nested)
    line = b'{"custom_id":"x","response":{"status_code":%d,"body":' + body + b"}}"

    assert_storable(answer_online("chat.completions", body))
    for status in (200, 400):
        decoded = decode_line(line.replace(b"%d", b"%d" % status))
        if decoded is not None:
            reading = Reading("chat.completions", Billing(PRICES, "batch", len), None, (), Expected(1, Decimal(0)))
            assert_storable([read_line(decoded, reading, 0.0).result])


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(
            b'{"custom_id":"%s","response":{"status_code":1e30,"body":{"error":"x"}}}', id="status-of-30-digits"
        ),
        pytest.param(b'{"custom_id":"%s","response":{"status_code":200,"body":{"choices":7}}}', id="no-answer"),
        pytest.param(b'{"custom_id":"%s","response":{"status_code":[],"body":1}}', id="status-is-a-list"),
        pytest.param(
            b'{"custom_id":"%s","response":{"status_code":500,"body":' + b"[" * 900 + b"]" * 900 + b"}}", id="deep"
        ),
        pytest.param(b'{"custom_id":"%s","error":{"code":[1],"message":{"a":1}}}', id="error-of-other-types"),
        pytest.param(b'\xff\xfe{"custom_id":"%s"}', id="no-utf-8"),
    ],
)
def test_an_odd_line_of_a_result_file_costs_no_other_line(tmp_path: Path, odd: bytes) -> None:
    ids = [f"{number:032x}-{number:08x}" for number in range(3)]
    good = {"status_code": 200, "body": WELL_FORMED["chat.completions"]}
    lines = [encode({"custom_id": ids[0], "response": good}), odd.replace(b"%s", ids[1].encode())]
    lines.append(encode({"custom_id": ids[2], "response": good}))
    (tmp_path / "results.jsonl").write_bytes(b"\n".join(lines))
    reading = Reading("chat.completions", Billing(PRICES, "batch", len), None, (), Expected(1, Decimal(0)))

    places = find_lines([tmp_path / "results.jsonl"], np.array([hash_custom_id(name) for name in ids], np.uint64))
    slices = list(read_slices(places, reading))

    results = [result for part in slices for result in part.results]
    assert {ids[0], ids[2]} <= {result.custom_id for result in results if isinstance(result, Completion)}
    assert_storable(results)
    assert_storable([result for part in slices for result in part.leftovers])
