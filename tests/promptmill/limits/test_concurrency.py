"""The number of requests in flight follows what the provider does, with few refused requests; on a virtual clock."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from promptmill.limits.concurrency import Controller, Ending
from promptmill.limits.places import Places, most_in_flight
from promptmill.limits.rate_limiter import RateLimiter
from tests.support.clock import run_on_clock

Server = Callable[[], Awaitable[Ending]]
CHANCE = random.Random(11)
HANG_SECONDS = 120.0


def varied(seconds: float, spread: float = 0.3) -> float:
    return seconds * CHANCE.lognormvariate(0, spread)


def takes_at_once(capacity: int, seconds: float, hanging: float = 0.0) -> Server:
    """Refuses what is beyond its capacity; of the rest, some hang until their timeout and load it no more."""
    busy = 0

    async def answer() -> Ending:
        nonlocal busy
        if CHANCE.random() < hanging:
            await asyncio.sleep(HANG_SECONDS)
            return "timeout"
        if busy >= capacity:
            await asyncio.sleep(0.002)
            return "refused"
        busy += 1
        await asyncio.sleep(varied(seconds))
        busy -= 1
        return "answered"

    return answer


def queues(capacity: int, seconds: float) -> Server:
    """Takes everything and answers `capacity` at once."""
    places = asyncio.Semaphore(capacity)

    async def answer() -> Ending:
        async with places:
            await asyncio.sleep(varied(seconds))
        return "answered"

    return answer


def flaky(seconds: float, refused: float) -> Server:
    """Refuses a share of the requests, however many are in flight."""

    async def answer() -> Ending:
        if CHANCE.random() < refused:
            return "refused"
        await asyncio.sleep(varied(seconds))
        return "answered"

    return answer


def dies(at: float, seconds: float) -> Server:
    """Answers well, and from a moment on nothing."""

    async def answer() -> Ending:
        if asyncio.get_running_loop().time() < at:
            await asyncio.sleep(varied(seconds))
            return "answered"
        await asyncio.sleep(10)
        return "timeout"

    return answer


@dataclass(slots=True)
class Seen:
    """What became of the requests of one run."""

    places: Places
    endings: Counter[Ending] = field(default_factory=Counter[Ending])
    answered_at: list[float] = field(default_factory=list[float])

    @property
    def refused_share(self) -> float:
        return self.endings["refused"] / self.endings.total()

    def rate(self, since: float, until: float) -> float:
        return sum(since <= at < until for at in self.answered_at) / (until - since)


def run_against(
    server: Callable[[], Server], seconds: float, limiter: RateLimiter | None = None, most: int = 2_000
) -> Seen:
    """Rows as fast as there are places for them; refused rows wait and try again."""

    async def scenario() -> Seen:
        CHANCE.seed(11)
        seen = Seen(Places(most, Controller(most)))
        places, loop, answer = seen.places, asyncio.get_running_loop(), server()

        async def row() -> None:
            ending: Ending = "refused"
            while ending == "refused":
                reservation = None if limiter is None else await limiter.reserve(1)
                flight = places.sent(loop.time())
                ending = await answer()
                places.ended(flight, ending, loop.time())
                if limiter is not None and reservation is not None:
                    limiter.settle(reservation, 1)
                seen.endings[ending] += 1
                if ending == "refused":
                    places.release()
                    await asyncio.sleep(CHANCE.uniform(0.25, 0.5))
                    await places.acquire()
            seen.answered_at += [loop.time()] if ending == "answered" else []
            places.release()

        async def feed(group: asyncio.TaskGroup) -> None:
            while loop.time() < seconds:
                await places.acquire()
                group.create_task(row())

        try:
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                await feed(group)
        except TimeoutError:
            pass
        return seen

    return run_on_clock(scenario())


@pytest.mark.parametrize(
    ("capacity", "latency", "seconds"),
    [
        pytest.param(16, 0.05, 15, id="16-at-once-fast"),
        pytest.param(16, 3, 300, id="16-at-once-slow"),
        pytest.param(4, 0.05, 30, id="4-at-once"),
        pytest.param(1, 0.05, 30, id="one-at-a-time"),
        pytest.param(200, 1, 30, id="200-at-once"),
    ],
)
def test_a_server_that_refuses_beyond_its_capacity_is_used_fully_and_refuses_few(
    capacity: int, latency: float, seconds: float
) -> None:
    seen = run_against(lambda: takes_at_once(capacity, latency), seconds)

    assert seen.refused_share < 0.05
    mean = latency * 1.046  # of the lognormal
    assert seen.rate(seconds / 2, seconds) > 0.9 * capacity / mean


@pytest.mark.parametrize("spread", [pytest.param(0.0, id="even"), pytest.param(0.8, id="uneven")])
def test_a_large_account_with_slow_answers_is_used_to_nine_tenths_within_a_minute(spread: float) -> None:
    limiter = RateLimiter(10_000, 1_000_000_000)

    async def answer() -> Ending:
        await asyncio.sleep(varied(3, spread))
        return "answered"

    seen = run_against(lambda: answer, 60, limiter)

    assert seen.rate(45, 60) > 0.9 * 10_000 / 60


def test_a_server_that_queues_is_used_fully_and_isnt_flooded() -> None:
    seen = run_against(lambda: queues(16, 0.1), 40)

    assert seen.rate(20, 40) > 0.9 * 16 / 0.1046
    assert seen.places.held < 500


def test_a_server_that_refuses_some_requests_at_any_number_doesnt_shrink_it() -> None:
    seen = run_against(lambda: flaky(0.5, 0.01), 40, most=200)

    assert seen.places.limit > 100


def test_a_server_that_answers_nothing_any_more_is_sent_ever_less() -> None:
    seen = run_against(lambda: dies(10, 0.5), 60, most=500)

    assert seen.places.limit < 100


def test_one_request_in_a_hundred_that_hangs_takes_less_than_a_tenth_of_the_rate() -> None:
    well = run_against(lambda: takes_at_once(64, 0.08), 16)
    with_hanging = run_against(lambda: takes_at_once(64, 0.08, hanging=0.01), 16)

    assert with_hanging.rate(4, 16) > 0.9 * well.rate(4, 16)


def test_requests_that_hang_count_against_what_sockets_allow() -> None:
    seen = run_against(lambda: takes_at_once(1_000, 0.5, hanging=0.1), 60, most=100)

    assert seen.places.hung + seen.places.on_wire <= 100


def test_a_server_that_stalls_for_everybody_is_sent_no_more_than_before() -> None:
    async def stalls() -> Ending:
        await asyncio.sleep(0.1 if asyncio.get_running_loop().time() < 10 else 1_000)
        return "answered"

    seen = run_against(lambda: stalls, 60, most=100)

    assert seen.places.hung <= 8


async def test_a_place_is_given_back_when_a_row_that_was_just_given_it_is_cancelled() -> None:
    places = Places(1)
    await places.acquire()
    second = asyncio.ensure_future(places.acquire())
    await asyncio.sleep(0)

    places.release()
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)

    assert places.held == 0
    assert places.waiting == 0


def test_files_that_may_be_open_bound_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promptmill.limits.places.resource.getrlimit", lambda _: (1_024, 4_096))

    assert most_in_flight("auto") == 824
    assert most_in_flight("auto", 1 / 4) == 206
    assert most_in_flight(5_000) == 5_000
