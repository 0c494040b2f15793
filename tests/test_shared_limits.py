"""Several processes on one limit: never more than it together, nearly all of it, and none runs free."""

import asyncio
import random
from collections.abc import Callable

import pytest

from promptmill.errors import SetupError
from promptmill.pace import ServerLimit
from promptmill.rate_limit import RateLimiter, RequestTooLarge
from promptmill.simulator import Simulator
from promptmill.transport import Credentials
from tasks.shared_limits import open_lessor
from tests.clock import run_on_clock
from tests.conftest import MakeJob, carry_out
from tests.prefect_limits import PrefectLimits
from tests.test_rate_limit import sliding_most

AMPLE = 100_000_000


async def open_limiter(server: PrefectLimits) -> RateLimiter:
    """The limiter of one process."""
    return RateLimiter(lessor=await open_lessor(server, "api"))


async def work_for(limiter: RateLimiter, seconds: float, tokens: float, workers: int = 40) -> list[float]:
    """When workers that ask as fast as they may were let through."""
    loop, times = asyncio.get_running_loop(), list[float]()
    until = loop.time() + seconds

    async def work() -> None:
        while loop.time() < until:
            reservation = await limiter.reserve(tokens)
            times.append(loop.time())
            await asyncio.sleep(0.05)
            limiter.settle(reservation, tokens)

    tasks = [asyncio.ensure_future(work()) for _ in range(workers)]
    await asyncio.wait(tasks, timeout=seconds)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await limiter.close()
    return times


@pytest.mark.parametrize("processes", [1, 2, 4])
@pytest.mark.parametrize(
    ("requests", "tokens", "each"),
    [
        pytest.param(6_000, AMPLE, 10, id="requests-bind"),
        pytest.param(500, AMPLE, 10, id="few-requests-bind"),
        pytest.param(1_000_000, 900_000, 150, id="tokens-bind"),
    ],
)
def test_processes_together_keep_within_the_limit_in_any_minute_after_the_first_and_use_nearly_all_of_it(
    processes: int, requests: int, tokens: int, each: int
) -> None:
    random.seed(3)
    seconds = 240

    async def scenario() -> tuple[list[list[float]], int]:
        server = PrefectLimits(requests, tokens)
        limiters = [await open_limiter(server) for _ in range(processes)]
        return await asyncio.gather(*(work_for(one, seconds, each) for one in limiters)), server.calls

    found, calls = run_on_clock(scenario())

    limit = min(requests, tokens / each)
    late = sorted(at for times in found for at in times if at >= 60)
    assert sliding_most([(at, 1) for at in late]) <= 1.02 * limit
    assert len(late) >= 0.93 * limit * (seconds - 60) / 60
    assert calls <= 4 * processes * seconds
    assert min(map(len, found)) >= 0.5 * max(map(len, found))


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
    assert times["huge"] == pytest.approx(20_000 / 1_000 - 5, rel=0.1)  # five seconds' worth were there


def test_large_requests_get_their_turn_beside_a_process_that_sends_small_ones() -> None:
    async def scenario() -> tuple[int, int]:
        server = PrefectLimits(AMPLE, 600_000)
        large, small = [await open_limiter(server) for _ in range(2)]
        found = await asyncio.gather(work_for(large, 120, 40_000, 4), work_for(small, 120, 100))
        return len(found[0]), len(found[1])

    large, small = run_on_clock(scenario())

    assert large * 40_000 >= 0.6 * small * 100


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


def test_while_the_server_is_away_what_was_leased_is_used_and_nothing_else_and_then_it_goes_on() -> None:
    async def scenario() -> tuple[list[float], int]:
        server = PrefectLimits(6_000, AMPLE)
        limiter = await open_limiter(server)
        working = asyncio.ensure_future(work_for(limiter, 120, 10))
        await asyncio.sleep(30)
        server.is_away, leased = True, server.total("requests")
        await asyncio.sleep(60)
        server.is_away = False
        return await working, leased

    times, leased = run_on_clock(scenario())

    assert len([at for at in times if at <= 90]) <= leased
    assert not [at for at in times if 33 < at < 90]
    assert min(at for at in times if at >= 90) <= 96
    assert len([at for at in times if at >= 96]) >= 0.95 * 24 * 100


def test_a_limit_that_is_deleted_is_waited_for_and_one_that_is_changed_is_kept_to() -> None:
    async def scenario() -> list[float]:
        server = PrefectLimits(6_000, AMPLE)
        working = asyncio.ensure_future(work_for(await open_limiter(server), 120, 10))
        await asyncio.sleep(30)
        del server.limits["api-requests"]
        await asyncio.sleep(30)
        server.limits.update(PrefectLimits(600, 1).limits | {"api-tokens": server.limits["api-tokens"]})
        return await working

    times = run_on_clock(scenario())

    assert not [at for at in times if 33 < at < 60]
    assert 0.9 * 300 <= len([at for at in times if at >= 90]) <= 1.02 * 300


def test_headers_can_slow_a_process_down_but_lift_nothing_beyond_what_is_leased() -> None:
    async def scenario(told: float) -> int:
        limiter = await open_limiter(PrefectLimits(600, AMPLE))
        limiter.observe(await limiter.reserve(1), ServerLimit(told, told), ServerLimit(None, None))
        return len(await work_for(limiter, 60, 10))

    assert 600 * 0.95 <= run_on_clock(scenario(60_000)) <= 600 + 50
    assert 290 <= run_on_clock(scenario(300)) <= 310


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


def test_a_lessor_that_fails_fails_whoever_waits_and_whoever_comes_later() -> None:
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


def remove(server: PrefectLimits) -> None:
    del server.limits["api-tokens"]


def disable(server: PrefectLimits) -> None:
    server.limits["api-requests"].active = False


def hold(server: PrefectLimits) -> None:
    server.limits["api-requests"].per_second = 0


def leave(server: PrefectLimits) -> None:
    server.is_away = True


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(remove, "prefect gcl create api-tokens --limit 75000 --slot-decay-per-second 15000", id="missing"),
        pytest.param(disable, "prefect gcl update api-requests --enable", id="disabled"),
        pytest.param(hold, "prefect gcl update api-requests --limit N --slot-decay-per-second X", id="no-decay"),
        pytest.param(leave, "PREFECT_API_URL", id="server-away"),
    ],
)
def test_limits_that_limit_nothing_are_an_error_before_the_first_request(
    spoil: Callable[[PrefectLimits], None], words: str
) -> None:
    async def scenario() -> None:
        server = PrefectLimits(6_000, 900_000)
        spoil(server)
        await open_lessor(server, "api", {"requests": 6_000, "tokens": 900_000})

    with pytest.raises(SetupError, match=words):
        run_on_clock(scenario())


async def test_without_prefect_a_shared_limit_is_an_error_and_nothing_is_sent(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    with pytest.raises(SetupError, match=r"limits\.shared is 'api'.*promptmill run"):
        await carry_out(make_job(5, limits={"shared": "api"}), credentials)

    assert simulator.ledger()["counters"].get("attempts", 0) == 0
