"""The blocks that one process leases: who is served from them, and when the next one is asked for."""

import asyncio

import pytest

from promptmill.limits.rate_limiter import RateLimiter
from promptmill.limits.split_tokens import RequestTooLarge
from promptmill.limits.token_bucket import ServerLimit
from tasks.server.shared_limit import open_lessor
from tests.support.clock import run_on_clock
from tests.support.leasing import open_limiter, work_for
from tests.support.prefect_limits import PrefectLimits

AMPLE = 100_000_000


def test_who_asks_first_is_served_first_and_a_request_larger_than_a_block_or_the_limit_of_slots_passes() -> None:
    async def scenario() -> dict[str, float]:
        server, times = PrefectLimits(60_000, 60_000), dict[str, float]()
        limiter = await open_limiter(server)

        async def ask(name: str, tokens: float) -> None:
            await limiter.reserve(tokens)
            times[name] = asyncio.get_running_loop().time()

        await asyncio.gather(ask("small", 10), ask("huge", 20_000), ask("tiny", 1))
        await limiter.close()
        return times

    times = run_on_clock(scenario())

    assert list(times) == ["small", "huge", "tiny"]
    assert times["huge"] == pytest.approx(20_000 / 1_000 - 3, rel=0.1)  # three seconds' worth were there


def test_a_request_larger_than_a_minute_of_the_whole_limit_is_refused_at_once() -> None:
    async def scenario() -> None:
        await (await open_limiter(PrefectLimits(60, 1_000))).reserve(1_001)

    with pytest.raises(RequestTooLarge, match=r"1,001 tokens; the limit is 1,000"):
        run_on_clock(scenario())


def test_an_idle_process_leases_nothing() -> None:
    async def scenario() -> tuple[int, int]:
        server = PrefectLimits(6_000, 600_000)
        limiter = await open_limiter(server)
        await asyncio.sleep(100)
        before = server.calls
        limiter.settle(await limiter.reserve(100), 100)
        await asyncio.sleep(1_000)
        await limiter.close()
        return before, server.calls

    before, after = run_on_clock(scenario())

    assert before == 0
    assert after <= 2  # one block of each kind


def test_nothing_is_leased_to_wait_out_a_penalty_and_everybody_is_held_up_by_it() -> None:
    async def scenario() -> tuple[float, int]:
        loop, server = asyncio.get_running_loop(), PrefectLimits(6_000, AMPLE)
        limiter = await open_limiter(server)
        await limiter.reserve(1)
        limiter.penalise(30)
        began = loop.time()
        asking = [asyncio.ensure_future(limiter.reserve(1)) for _ in range(50)]
        await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        waited = loop.time() - began
        await asyncio.gather(*asking)
        await limiter.close()
        return waited, server.total("requests")

    waited, leased = run_on_clock(scenario())

    assert waited >= 30
    assert leased <= 200


def test_headers_can_slow_a_process_down_but_lift_nothing_beyond_what_is_leased() -> None:
    async def scenario(told: float) -> int:
        limiter = await open_limiter(PrefectLimits(600, AMPLE))
        limiter.observe(await limiter.reserve(1), ServerLimit(told, told), ServerLimit(None, None))
        return len(await work_for(limiter, 60, 10))

    assert 600 * 0.95 <= run_on_clock(scenario(60_000)) <= 600 + 50
    assert 290 <= run_on_clock(scenario(300)) <= 310


def test_one_shard_of_several_may_use_all_of_a_leased_limit_whatever_its_part_is() -> None:
    """The others may have ended."""

    async def scenario() -> int:
        limiter = RateLimiter(lessor=await open_lessor(PrefectLimits(600, AMPLE), "api"), part=0.25)
        limiter.observe(await limiter.reserve(1), ServerLimit(600, 599), ServerLimit(AMPLE, AMPLE))
        return len(await work_for(limiter, 60, 10))

    assert 600 * 0.95 <= run_on_clock(scenario()) <= 600 + 50


def test_tokens_that_were_reserved_and_not_used_are_used_by_the_next_requests() -> None:
    async def scenario() -> tuple[float, float]:
        loop, server, used = asyncio.get_running_loop(), PrefectLimits(AMPLE, 60_000), 0.0
        limiter = await open_limiter(server)
        while loop.time() < 120:
            reservation = await limiter.reserve(500)
            limiter.settle(reservation, 100)
            used += 100
        await limiter.close()
        return used, server.total("tokens")

    used, leased = run_on_clock(scenario())

    assert used >= 0.97 * leased - 1_000
    assert used >= 0.95 * 120_000


def test_a_cancelled_request_leaves_its_lease_to_the_next_and_blocks_nobody() -> None:
    async def scenario() -> float:
        server = PrefectLimits(6_000, 60_000)
        limiter = await open_limiter(server)
        waiting = asyncio.ensure_future(limiter.reserve(50_000))
        await asyncio.sleep(4)
        behind = asyncio.ensure_future(limiter.reserve(100))
        await asyncio.sleep(0)
        waiting.cancel()
        began = asyncio.get_running_loop().time()
        await behind
        await limiter.close()
        return asyncio.get_running_loop().time() - began

    assert run_on_clock(scenario()) <= 0.1


def test_a_lessor_that_fails_fails_those_that_wait_and_those_that_come_later() -> None:
    class Broken:
        def per_minute(self, kind: str) -> float:
            return 600

        async def lease(self, kind: str) -> float:
            await asyncio.sleep(1)
            raise ZeroDivisionError

    async def scenario() -> list[type]:
        limiter = RateLimiter(lessor=Broken())
        found = await asyncio.gather(*(limiter.reserve(1) for _ in range(3)), return_exceptions=True)
        later = await asyncio.gather(limiter.reserve(1), return_exceptions=True)
        await limiter.close()
        return [type(one) for one in [*found, *later]]

    assert run_on_clock(scenario()) == [ZeroDivisionError] * 4


def test_a_lease_that_somebody_else_cancels_is_asked_for_again() -> None:
    class Interrupted:
        calls = 0

        def per_minute(self, kind: str) -> float:
            return 600

        async def lease(self, kind: str) -> float:
            self.calls += 1
            await asyncio.sleep(1)
            if self.calls <= 2:
                raise asyncio.CancelledError
            return 10

    async def scenario() -> float:
        limiter = RateLimiter(lessor=Interrupted())
        await limiter.reserve(1)
        await limiter.close()
        return asyncio.get_running_loop().time()

    assert run_on_clock(scenario()) == pytest.approx(2, abs=0.1)
