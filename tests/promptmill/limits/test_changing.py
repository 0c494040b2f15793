"""A limiter whose part of a limit grows once others send no more: the whole limit is used, and never passed."""

import asyncio

import pytest

from promptmill.limits.changing import change_part
from promptmill.limits.rate_limiter import RateLimiter
from tests.support.clock import run_on_clock, sliding_most

A_MINUTE = 600


def test_a_part_of_a_limit_that_others_leave_is_used_from_then_on() -> None:
    async def send() -> list[tuple[float, float]]:
        limiter, loop = RateLimiter(A_MINUTE, 10**9, part=0.5), asyncio.get_running_loop()
        sent: list[tuple[float, float]] = []
        for number in range(2 * A_MINUTE):
            if number == A_MINUTE // 2:
                change_part(limiter, 1.0)
            await limiter.reserve(1)
            sent.append((loop.time(), 1.0))
        return sent

    sent = run_on_clock(send())
    before, after = [at for at, _ in sent[: A_MINUTE // 2]], [at for at, _ in sent[A_MINUTE // 2 :]]

    assert before[-1] - before[0] == pytest.approx(60, rel=0.02)
    assert after[-1] - after[0] == pytest.approx(90, rel=0.02)
    assert sliding_most(sent) <= A_MINUTE
