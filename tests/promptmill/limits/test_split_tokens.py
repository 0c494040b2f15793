"""Input and output tokens have limits of their own, given or told by headers, beside the one of both together."""

import asyncio

import pytest

from promptmill.limits.rate_limiter import RateLimiter
from promptmill.limits.split_tokens import RequestTooLarge, SplitTokens
from promptmill.limits.token_bucket import ServerLimit
from promptmill.provider.headers import split_limits
from tests.support.clock import run_on_clock

NOTHING = ServerLimit(None, None)
TOLD = {
    "anthropic-ratelimit-input-tokens-limit": "60000",
    "anthropic-ratelimit-input-tokens-remaining": "60000",
    "anthropic-ratelimit-output-tokens-limit": "6000",
    "anthropic-ratelimit-output-tokens-remaining": "6000",
}


@pytest.mark.parametrize(
    ("input_tokens", "output_tokens", "a_minute"),
    [
        pytest.param(100, 100, 60, id="output-is-the-tighter"),
        pytest.param(1_000, 10, 60, id="input-is-the-tighter"),
        pytest.param(100, 10, 600, id="both-alike"),
    ],
)
@pytest.mark.parametrize("is_given", [pytest.param(True, id="given"), pytest.param(False, id="learned")])
def test_the_tighter_of_both_limits_paces_requests(
    input_tokens: int, output_tokens: int, a_minute: int, is_given: bool
) -> None:
    async def scenario() -> int:
        limiter = RateLimiter(1_000_000, split=SplitTokens(60_000, 6_000) if is_given else None)
        loop, sent = asyncio.get_running_loop(), 0
        if not is_given:
            limiter.observe(await limiter.reserve(0), NOTHING, NOTHING, split_limits(TOLD))
        while loop.time() < 120:
            reservation = await limiter.reserve(input_tokens, output_tokens)
            limiter.settle(reservation, input_tokens, output_tokens)
            sent += 1
        return sent

    assert 0.97 * 2 * a_minute <= run_on_clock(scenario()) <= 2 * a_minute + 2


@pytest.mark.parametrize(
    ("input_tokens", "output_tokens", "named"),
    [
        pytest.param(60_001, 0, "limits.input_tokens_per_minute", id="input"),
        pytest.param(0, 6_001, "limits.output_tokens_per_minute", id="output"),
    ],
)
async def test_a_request_larger_than_a_whole_minute_is_refused_at_once(
    input_tokens: int, output_tokens: int, named: str
) -> None:
    limiter = RateLimiter(split=SplitTokens(60_000, 6_000))

    with pytest.raises(RequestTooLarge, match=named):
        await limiter.reserve(input_tokens, output_tokens)


def test_a_request_that_waits_says_for_which_tokens() -> None:
    async def scenario() -> str | None:
        limiter = RateLimiter(60_000, split=SplitTokens(60_000, 600))
        await limiter.reserve(10, 600)
        waiting = asyncio.ensure_future(limiter.reserve(10, 600))
        await asyncio.sleep(0)
        reason = limiter.waiting_reason
        waiting.cancel()
        return None if reason is None else f"{reason.kind}: {reason.text}"

    assert str(run_on_clock(scenario())).startswith("output_tokens: the limit is 600 output tokens a minute")


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        pytest.param("nan", None, id="not-a-number"),
        pytest.param("12", None, id="less-than-anybody-sells"),
        pytest.param("8000", 8_000.0, id="a-limit"),
    ],
)
def test_only_limits_that_can_be_meant_are_learned(limit: str, told: float | None) -> None:
    found, _ = split_limits({"anthropic-ratelimit-input-tokens-limit": limit})

    assert found.limit == told
