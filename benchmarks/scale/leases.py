"""A minute of many workers under one limit, by the code that decides it in a run: the rate limiter and the lessor.

Each worker has the `RateLimiter` of a run. Where the limit is shared, it leases from the `PrefectLessor` of a run, whose
calls go to a server of ours: one queue, so many calls a second, and Prefect's rule of granting slots.
"""

import asyncio
import json
import math
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse
from prefect.exceptions import PrefectHTTPStatusError

from benchmarks.scale.virtual_clock import run_virtually
from promptmill.limits.rate_limiter import RateLimiter
from tasks.server.shared_limit import open_lessor, slots_of


@dataclass(frozen=True, slots=True)
class Sharing:
    """Workers under one limit."""

    workers: int
    requests_per_minute: int
    tokens_per_minute: int
    tokens: int  # of a request
    seconds: float  # until an answer, on average
    in_flight: int  # of each worker at most
    calls_a_second: (
        float | None
    )  # that the Prefect server answers; None: each worker keeps to its part, and leases nothing


@dataclass(frozen=True, slots=True)
class Shared:
    """What a minute of them showed."""

    used_percent: float  # of the limit on requests, after the first seconds
    most_in_a_minute_percent: float  # of it, first seconds included
    server_calls_a_second: float
    call_seconds: float  # that a call took, on average


@dataclass(slots=True)
class _Limit:
    """A limit as Prefect 3.8.8 grants it: slots in use decay, and each grant forgets the fraction of a slot."""

    slots: int
    per_second: float
    active: float = 0.0
    updated: float = 0.0

    def take(self, now: float, slots: int) -> bool:
        """Whether so many slots are granted."""
        active = max(0.0, self.active - math.floor(self.per_second * (now - self.updated)))
        if active + slots > self.slots:
            return False
        self.active, self.updated = active + slots, now
        return True


@dataclass(slots=True)
class _Server:
    """A Prefect server with one queue."""

    limits: dict[str, _Limit]
    calls_a_second: float
    free_at: float = 0.0
    asked_at: list[float] = field(default_factory=list[float])
    took: list[float] = field(default_factory=list[float])

    async def read_global_concurrency_limit_by_name(self, name: str) -> GlobalConcurrencyLimitResponse:
        """The limit."""
        await self._serve()
        limit = self.limits[name]
        return GlobalConcurrencyLimitResponse(
            name=name, limit=limit.slots, active=True, active_slots=0, slot_decay_per_second=limit.per_second
        )

    async def increment_concurrency_slots(
        self, names: list[str], slots: int, mode: Literal["concurrency", "rate_limit"]
    ) -> httpx.Response:
        """The limit, once its slots are granted. Raises: PrefectHTTPStatusError (423) when they aren't."""
        await self._serve()
        if not self.limits[names[0]].take(_now(), slots):
            request = httpx.Request("POST", "http://prefect/api")
            raise PrefectHTTPStatusError("423", request=request, response=httpx.Response(423, request=request))
        return httpx.Response(200, content=json.dumps([{"name": names[0]}]))

    async def _serve(self) -> None:
        began = _now()
        self.free_at = max(began, self.free_at) + 1 / self.calls_a_second
        self.asked_at.append(began)
        await asyncio.sleep(self.free_at - began)
        self.took.append(_now() - began)


def share(sharing: Sharing, warm_seconds: float, seconds: float) -> Shared:
    """How workers use a limit, and what they ask of the server for it, in so many seconds after the first ones."""
    random.seed(1)  # the lessor draws its waits from there: each run of this is the same
    return run_virtually(_share(sharing, warm_seconds, seconds))


async def _share(sharing: Sharing, warm_seconds: float, seconds: float) -> Shared:
    until, sent = warm_seconds + seconds, list[float]()
    server = None if sharing.calls_a_second is None else _server(sharing, sharing.calls_a_second)
    work = [_send(sharing, server, random.Random(number), sent) for number in range(sharing.workers)]
    tasks = [asyncio.create_task(each) for each in work]
    await asyncio.wait(tasks, timeout=until)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    used = 100 * sum(at >= warm_seconds for at in sent) / (sharing.requests_per_minute / 60 * seconds)
    most = 100 * _most_in_a_minute(sorted(sent)) / sharing.requests_per_minute
    if server is None:
        return Shared(used, most, 0.0, 0.0)
    asked = sum(warm_seconds <= at < until for at in server.asked_at)
    return Shared(used, most, asked / seconds, sum(server.took) / len(server.took))


def _server(sharing: Sharing, calls_a_second: float) -> _Server:
    kinds = {"requests": sharing.requests_per_minute, "tokens": sharing.tokens_per_minute}
    return _Server({f"api-{kind}": _Limit(slots_of(each), each / 60) for kind, each in kinds.items()}, calls_a_second)


@asynccontextmanager
async def _limiter(sharing: Sharing, server: _Server | None, chance: random.Random) -> AsyncGenerator[RateLimiter]:
    await asyncio.sleep(chance.random())  # workers don't start at one moment
    given = (sharing.requests_per_minute, sharing.tokens_per_minute)
    if server is None:
        limiter = RateLimiter(*given, part=1 / sharing.workers)
    else:
        limiter = RateLimiter(*given, lessor=await open_lessor(server, "api"))
    try:
        yield limiter
    finally:
        await limiter.close()


async def _send(sharing: Sharing, server: _Server | None, chance: random.Random, sent: list[float]) -> None:
    """One worker: send whenever there is a place and the limiter lets it."""
    loop, places = asyncio.get_running_loop(), asyncio.Semaphore(sharing.in_flight)

    async with _limiter(sharing, server, chance) as limiter:

        def end(reservation: Any) -> None:
            limiter.settle(reservation, sharing.tokens)
            places.release()

        while True:
            await places.acquire()
            reservation = await limiter.reserve(sharing.tokens)
            sent.append(loop.time())
            loop.call_later(chance.uniform(0.5, 1.5) * sharing.seconds, end, reservation)


def _most_in_a_minute(times: list[float]) -> int:
    most = first = 0
    for last, at in enumerate(times):
        while times[first] <= at - 60:
            first += 1
        most = max(most, last - first + 1)
    return most


def _now() -> float:
    return asyncio.get_running_loop().time()
