"""Whatever a provider's headers say, nobody is hammered and no run stands still without a word."""

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from promptmill.job.spec import Retry
from promptmill.limits.budget import Budget
from promptmill.limits.places import Places
from promptmill.limits.pricing import prices_for
from promptmill.limits.rate_limiter import RateLimiter
from promptmill.limits.refusals import LONGEST_FLOOR_SECONDS, Refusals, floor_seconds
from promptmill.limits.token_bucket import ServerLimit
from promptmill.provider.billing import Billing
from promptmill.provider.client import Client
from promptmill.provider.headers import parse_duration, retry_after_seconds, server_limits
from promptmill.provider.quiet_watch import Quiet
from promptmill.provider.retry_policy import backoff_seconds, retry_seconds
from promptmill.provider.transport import RawAnswer
from promptmill.records import Completion, Request, Result
from promptmill.runs.completion import complete_request
from promptmill.stop import Slot, Stop
from tests.support.clock import run_on_clock, sliding_most
from tests.support.examples import examples
from tests.support.odd_answers import WELL_FORMED

NOW = 1_790_000_000.0
ANSWER = orjson.dumps(WELL_FORMED["chat.completions"])
ERROR = orjson.dumps({"error": {"message": "slow", "code": "rate_limit_exceeded"}})
ODD = [
    "0",
    "-1",
    "-0",
    "nan",
    "inf",
    "-inf",
    "1e-9",
    "1e300",
    "99999999999999999999",
    "",
    "soon",
    "1e-9s",
    "0ms",
    "1_0",
]
DATES = ["Mon, 21 Sep 1970 14:14:20 GMT", "Mon, 99 Sep 2026 14:14:20 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "yesterday"]
WAITS = [*ODD, *DATES, "31536000", "900000d", "10000000000h"]


class Scripted:
    """A provider that answers as it is told to; remembers when it was asked."""

    def __init__(self, answer: Callable[[int], RawAnswer], latency_seconds: float = 0.05) -> None:
        self.times: list[tuple[float, float]] = []
        self._answer = answer
        self._latency_seconds = latency_seconds

    async def post(self, body: bytes) -> RawAnswer:
        """The answer to the next request."""
        self.times.append((asyncio.get_running_loop().time(), 1.0))
        number = len(self.times) - 1
        await asyncio.sleep(self._latency_seconds)
        return self._answer(number)


def client_of(sender: Scripted, limiter: RateLimiter) -> Client:
    return Client(
        sender=sender,
        endpoint="chat.completions",
        limiter=limiter,
        budget=Budget(None),
        billing=Billing(prices_for("gpt-6-luna", None), None, len),
        retry=Retry(max_attempts=6),
        stop=Stop(),
    )


async def answer_rows(client: Client, rows: int, seconds: float) -> list[Result]:
    """The results of so many rows that came within some time, eight at once."""
    places = Places(8)

    async def answer(number: int) -> Result:
        slot = Slot(places)
        await slot.acquire()
        try:
            return await complete_request(client, Request(f"{number}", b"{}", 20, 64), slot, None)
        finally:
            slot.release()

    tasks = [asyncio.ensure_future(answer(number)) for number in range(rows)]
    done, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late)
    return [task.result() for task in done]


@given(
    st.lists(st.tuples(st.sampled_from([429, 429, 429, 503]), st.sampled_from(WAITS), st.sampled_from(ODD)), min_size=1)
)
@example([(429, "0", "0"), (429, "0", "0"), (503, "0", "0")])  # a 503 doesn't say that the limit is back
@settings(max_examples=examples(60), deadline=None)
def test_a_provider_that_refuses_everything_is_asked_once_a_second_at_most(script: list[tuple[int, str, str]]) -> None:
    """Whatever it asks to wait; 503s are tried six times a row, so that they are few."""

    def answer(number: int) -> RawAnswer:
        status, wait, limit = script[number % len(script)]
        headers = {"retry-after": wait, "x-ratelimit-limit-requests": limit, "x-ratelimit-remaining-requests": limit}
        return RawAnswer(status, headers, ERROR)

    sender = Scripted(answer)
    run_on_clock(answer_rows(client_of(sender, RateLimiter(60_000, None)), 40, 300.0))

    refused = [when for number, when in enumerate(sender.times) if script[number % len(script)][0] == 429]
    late = [when for when in refused if when[0] >= 5]
    assert not late or sliding_most(late, 0.999) <= 1 + 7 * any(status == 503 for status, _, _ in script)


def test_refusals_without_a_pause_are_followed_by_single_probes_ever_further_apart() -> None:
    sender = Scripted(lambda _: RawAnswer(429, {"retry-after": "0"}, ERROR))

    run_on_clock(answer_rows(client_of(sender, RateLimiter(60_000, None)), 40, 600.0))

    late = [at for at, _ in sender.times if at >= 1]
    assert len(sender.times) - len(late) <= 2 * 8 + 1
    gaps = [after - before for before, after in itertools.pairwise(late)]
    assert gaps == sorted(gaps)
    assert gaps[-1] == pytest.approx(LONGEST_FLOOR_SECONDS, abs=1)


def test_a_provider_that_takes_requests_again_gets_all_of_them() -> None:
    sender = Scripted(lambda number: RawAnswer(429 if number < 20 else 200, {"retry-after": "0"}, ANSWER))

    results = run_on_clock(answer_rows(client_of(sender, RateLimiter(60_000, None)), 200, 100.0))

    assert len(results) == 200
    assert all(isinstance(result, Completion) for result in results)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(
                [
                    f"x-ratelimit-{what}-{of}"
                    for what in ("limit", "remaining", "reset")
                    for of in ("requests", "tokens")
                ]
            ),
            st.sampled_from([*ODD, "600", "60000", "6000", "3"]),
        ),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=examples(60), deadline=None)
def test_no_limit_that_headers_tell_keeps_rows_from_being_answered(told: list[dict[str, str]]) -> None:
    """The slowest limit that is believed is one request a minute."""
    sender = Scripted(lambda number: RawAnswer(200, told[number % len(told)], ANSWER))

    results = run_on_clock(answer_rows(client_of(sender, RateLimiter()), 20, 60.0 * 25))

    assert len(results) == 20
    assert all(isinstance(result, Completion) for result in results)


@pytest.mark.parametrize("wait", WAITS, ids=repr)
@pytest.mark.parametrize("name", ["retry-after", "retry-after-ms"])
def test_a_wait_is_finite_not_negative_and_less_than_a_week(name: str, wait: str) -> None:
    seconds = retry_after_seconds({name: wait}, "", NOW)

    assert seconds is None or 0 <= seconds <= 7 * 86400


@given(st.text(alphabet="0123456789.dhms-+e nainf", max_size=12))
def test_no_text_makes_a_duration_that_is_negative_or_infinite(text: str) -> None:
    seconds = parse_duration(text)

    assert seconds is None or 0 <= seconds < float("inf")
    retry_after_seconds({"retry-after": text}, f"try again in {text}", NOW)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param({"limit": "0"}, (None, None), id="zero"),
        pytest.param({"limit": "-5"}, (None, None), id="negative"),
        pytest.param({"limit": "1e-9"}, (None, None), id="next-to-nothing"),
        pytest.param({"limit": "nan", "remaining": "nan"}, (None, None), id="not-a-number"),
        pytest.param({"limit": "inf"}, (None, None), id="infinite"),
        pytest.param({"limit": "1e300"}, (None, None), id="beyond-any-limit"),
        pytest.param({"limit": "600", "remaining": "-7"}, (600, 0), id="less-than-nothing-left"),
        pytest.param({"limit": "600", "remaining": "1e300"}, (600, 600), id="more-left-than-there-is"),
        pytest.param({"limit": "600", "remaining": "soon"}, (600, None), id="no-number"),
        pytest.param({"limit": "600", "remaining": "599", "reset": "inf"}, (600, 599), id="endless-reset"),
        pytest.param({"limit": "1"}, (1, None), id="one-a-minute-is-believed"),
    ],
)
def test_limits_that_cannot_be_meant_are_read_as_if_they_were_not_told(
    headers: Mapping[str, str], expected: tuple[float | None, float | None]
) -> None:
    requests, _ = server_limits({f"x-ratelimit-{name}-requests": value for name, value in headers.items()})

    assert requests == ServerLimit(*expected)


@pytest.mark.parametrize(
    ("told", "expected"),
    [(None, 0.5), (0.0, 0.5), (3.0, 3.0), (3_600.0, 60.0)],
    ids=["unsaid", "zero", "told", "an-hour"],
)
def test_an_error_is_tried_again_after_its_backoff_at_least_and_a_minute_at_most(
    told: float | None, expected: float
) -> None:
    assert retry_seconds(told, 1, 0.0) == expected
    assert backoff_seconds(1, 0.0) == 0.5


def test_the_floor_of_a_pause_doubles_with_each_refusal_in_a_row() -> None:
    assert [floor_seconds(count) for count in (1, 2, 3, 4, 8, 1_000)] == [0.1, 1, 2, 4, 60, 60]


def test_a_burst_that_is_refused_counts_as_one_refusal() -> None:
    refusals = Refusals()
    for at in range(10):
        refusals.refused(now=1.0 + at / 1_000, seconds=5.0, sent_at=0.5)

    assert refusals.count == 1
    assert not refusals.is_probing


async def _quiet_after(client: Client, seconds: float) -> Quiet | None:
    running = asyncio.ensure_future(answer_rows(client, 8, seconds + 5))
    await asyncio.sleep(seconds)
    found = client.quiet
    await running
    return found


@pytest.mark.parametrize(
    ("limiter", "answer", "latency", "words"),
    [
        pytest.param(
            RateLimiter(60_000), RawAnswer(429, {"retry-after": "90"}, ERROR), 0.1, "refused 1 times", id="refused"
        ),
        pytest.param(
            RateLimiter(1, None), RawAnswer(200, {}, ANSWER), 0.1, "1 requests a minute (given)", id="requests"
        ),
        pytest.param(RateLimiter(None, 90), RawAnswer(200, {}, ANSWER), 0.1, "90 tokens a minute (given)", id="tokens"),
        pytest.param(
            RateLimiter(),
            RawAnswer(200, {"x-ratelimit-limit-requests": "1", "x-ratelimit-remaining-requests": "0"}, ANSWER),
            20.0,
            "8 requests are on their way",
            id="no-answers",
        ),
    ],
)
def test_ten_seconds_without_a_request_are_explained_once(
    limiter: RateLimiter, answer: RawAnswer, latency: float, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_of(Scripted(lambda _: answer, latency), limiter)

    with caplog.at_level(logging.INFO, "promptmill"):
        quiet = run_on_clock(_quiet_after(client, 12.0))

    assert quiet is not None
    assert words in quiet.reason
    told = [record.message for record in caplog.records if "nothing was sent" in record.message]
    assert len(told) == 1
    assert words in told[0]


def test_nothing_is_said_while_requests_are_sent(caplog: pytest.LogCaptureFixture) -> None:
    client = client_of(Scripted(lambda _: RawAnswer(200, {}, ANSWER)), RateLimiter(60, None))

    with caplog.at_level(logging.INFO, "promptmill"):
        assert len(run_on_clock(answer_rows(client, 30, 60.0))) == 30

    assert not caplog.records
