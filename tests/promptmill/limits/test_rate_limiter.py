"""The limiter keeps to both limits, by every way of counting a minute, and wastes nearly nothing of them."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.limits.rate_limiter import RateLimiter
from promptmill.limits.split_tokens import RequestTooLarge
from promptmill.limits.token_bucket import Reservation, ServerLimit
from tests.support.clock import run_on_clock, sliding_most
from tests.support.examples import examples

NOTHING = ServerLimit(None, None)


async def take_for(
    limiter: RateLimiter,
    seconds: float,
    workers: int,
    tokens: Callable[[int], tuple[float, float]],
    latency: float = 0.05,
) -> list[tuple[float, float]]:
    """When which tokens were really used by workers that ask as fast as they may."""
    loop = asyncio.get_running_loop()
    taken: list[tuple[float, float]] = []

    async def work(number: int) -> None:
        while loop.time() < seconds:
            reserve, used = tokens(len(taken))
            reservation = await limiter.reserve(reserve)
            if loop.time() >= seconds:
                return
            taken.append((loop.time(), used))
            await asyncio.sleep(latency)
            limiter.settle(reservation, used)

    tasks = [asyncio.ensure_future(work(number)) for number in range(workers)]
    await asyncio.wait(tasks, timeout=seconds + 1)
    for task in tasks:
        task.cancel()
    return taken


@pytest.mark.parametrize("limit", [pytest.param(n, id=f"rpm-{n}") for n in (10, 60, 6_000)])
def test_requests_stay_within_the_limit_in_any_minute_and_use_nearly_all_of_it(limit: int) -> None:
    limiter = RateLimiter(limit, None)
    limiter._probes_left = None  # pyright: ignore[reportPrivateUsage]

    taken = run_on_clock(take_for(limiter, 180, max(4, limit // 60), lambda _: (1, 1)))

    assert sliding_most([(at, 1) for at, _ in taken]) <= limit
    assert len(taken) >= 0.97 * 3 * limit


@pytest.mark.parametrize("reserved", [pytest.param(n, id=f"reserves-{n}") for n in (120, 200, 1_000)])
def test_tokens_are_settled_by_use_so_that_cautious_reservations_cost_no_throughput(reserved: int) -> None:
    limiter = RateLimiter(100_000, 60_000)

    taken = run_on_clock(take_for(limiter, 240, 64, lambda _: (reserved, 100)))

    late = [entry for entry in taken if entry[0] >= 60]
    assert sum(used for _, used in late) >= 0.97 * 3 * 60_000
    assert sliding_most(taken) <= 60_000


def test_requests_of_any_size_are_served_in_the_order_they_came() -> None:
    async def scenario() -> list[str]:
        limiter, order = RateLimiter(60_000, 6_000), list[str]()
        await limiter.reserve(30)

        async def ask(name: str, tokens: float) -> None:
            await limiter.reserve(tokens)
            order.append(name)

        await asyncio.gather(ask("large", 3_000), ask("small", 1), ask("medium", 200))
        return order

    assert run_on_clock(scenario()) == ["large", "small", "medium"]


def test_a_request_larger_than_a_minute_is_refused_at_once() -> None:
    async def scenario() -> None:
        await RateLimiter(10, 1_000).reserve(1_001)

    with pytest.raises(RequestTooLarge, match=r"1,001 tokens; the limit is 1,000"):
        run_on_clock(scenario())


@pytest.mark.parametrize("is_given", [pytest.param(True, id="given"), pytest.param(False, id="learned")])
def test_a_request_larger_than_our_part_of_a_limit_is_sent_and_later_ones_wait(is_given: bool) -> None:
    """An eighth of 30,000 a minute is ours."""

    async def scenario() -> list[tuple[float, float]]:
        limiter = RateLimiter(None, 30_000 if is_given else None, part=1 / 8)
        limiter.observe(await limiter.reserve(0), ServerLimit(8_000, 8_000), ServerLimit(30_000, 30_000))
        return await take_for(limiter, 3_600, 4, lambda number: (5_000, 5_000) if number % 3 else (100, 100))

    taken = run_on_clock(scenario())

    assert sum(used == 5_000 for _, used in taken) >= 40
    assert sum(used for _, used in taken) <= 60 * 30_000 / 8 + 5_000  # one may overhang
    assert sum(used for _, used in taken) >= 0.97 * 60 * 30_000 / 8


@pytest.mark.parametrize("is_given", [pytest.param(True, id="given"), pytest.param(False, id="learned")])
def test_a_request_larger_than_the_whole_limit_is_refused_for_any_part_of_it(is_given: bool) -> None:
    async def scenario() -> None:
        limiter = RateLimiter(None, 30_000 if is_given else None, part=1 / 8)
        limiter.observe(await limiter.reserve(0), NOTHING, ServerLimit(30_000, 30_000))
        await limiter.reserve(30_001)

    with pytest.raises(RequestTooLarge, match=r"30,001 tokens; the limit is 30,000"):
        run_on_clock(scenario())


def test_requests_wait_for_our_part_of_what_the_provider_says_is_left() -> None:
    async def scenario() -> float:
        limiter = RateLimiter(6_000, 6_000, part=0.5)
        limiter.observe(await limiter.reserve(0), ServerLimit(6_000, 0), ServerLimit(6_000, 0))
        await limiter.reserve(1)
        return asyncio.get_running_loop().time()

    assert run_on_clock(scenario()) == pytest.approx(60 / 3_000)


def test_a_penalty_holds_everybody_up_and_no_burst_follows_it() -> None:
    async def scenario() -> list[float]:
        loop = asyncio.get_running_loop()
        limiter, times = RateLimiter(6_000, 1_000_000), list[float]()
        limiter.penalise(7.5)
        for _ in range(20):
            await limiter.reserve(1)
            times.append(loop.time())
        return times

    times = run_on_clock(scenario())

    assert times[0] >= 7.5
    assert times[-1] - times[0] >= 0.98 * 19 / 100


def test_a_cancelled_waiter_takes_nothing_and_blocks_nobody() -> None:
    async def scenario() -> float:
        limiter = RateLimiter(60, 600)
        await limiter.reserve(500)
        waiting = asyncio.ensure_future(limiter.reserve(600))
        await asyncio.sleep(0)
        behind = asyncio.ensure_future(limiter.reserve(1))
        await asyncio.sleep(0)
        waiting.cancel()
        await behind
        assert limiter.waiting == 0
        return asyncio.get_running_loop().time()

    assert run_on_clock(scenario()) < 60


def test_limits_are_learned_from_headers_and_only_a_few_probes_go_before() -> None:
    async def scenario() -> tuple[int, float]:
        limiter = RateLimiter()
        probes: list[Reservation] = []

        async def ask() -> None:
            probes.append(await limiter.reserve(10))

        asking = [asyncio.ensure_future(ask()) for _ in range(100)]
        await asyncio.sleep(1)
        sent = len(probes)
        limiter.observe(probes[0], ServerLimit(600, 592), ServerLimit(60_000, 59_000))
        await asyncio.gather(*asking)
        return sent, asyncio.get_running_loop().time()

    sent, seconds = run_on_clock(scenario())

    assert sent == 8
    assert seconds == pytest.approx(1 + 92 / 10, rel=0.1)


def test_a_provider_that_counts_more_than_we_do_slows_us_down_before_it_refuses() -> None:
    """The server charges double; its remaining tokens say so, and after a few refusals there are none."""

    async def scenario() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        limiter = RateLimiter(100_000, 60_000)
        state = {"left": 60_000.0, "at": 0.0, "refused": 0.0, "taken": 0.0}

        async def server(reservation: Reservation, latency: float) -> None:
            now = loop.time()
            state["left"] = min(60_000, state["left"] + (now - state["at"]) * 1_000)
            state["at"] = now
            if state["left"] < 200:
                state["refused"] += 1
                limiter.penalise((200 - state["left"]) / 1_000, by_tokens=True)
            else:
                state["left"] -= 200
                state["taken"] += 200
            told = state["left"]
            await asyncio.sleep(latency)
            limiter.observe(reservation, NOTHING, ServerLimit(60_000, told))
            limiter.settle(reservation, 100)

        async def work(number: int) -> None:
            while loop.time() < 600:
                await server(await limiter.reserve(100), 0.2 + number % 7 / 10)

        await asyncio.gather(*(work(number) for number in range(40)))
        return state["refused"], state["taken"]

    refused, taken = run_on_clock(scenario())

    assert refused <= 0.005 * taken / 200
    assert taken >= 0.97 * 600_000


@given(
    st.lists(st.tuples(st.floats(1, 900), st.floats(0, 1)), min_size=1, max_size=40),
    st.floats(0.001, 20),
)
@settings(max_examples=examples(10), deadline=None)
def test_whatever_is_asked_the_tokens_used_stay_within_the_limit(
    asked: list[tuple[float, float]], latency: float
) -> None:
    limiter = RateLimiter(10_000, 3_000)

    def tokens(number: int) -> tuple[float, float]:
        reserve, share = asked[number % len(asked)]
        return reserve, reserve * share

    taken = run_on_clock(take_for(limiter, 100, 8, tokens, latency))

    total = 0.0
    for at, used in taken:
        total += used
        assert total <= 3_000 / 60 * at + 15 + 900  # the burst, and one request that overhangs
