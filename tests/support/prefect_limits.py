"""Prefect's global concurrency limits as its server grants them, on the event loop's own clock."""

import asyncio
import math
from dataclasses import dataclass
from typing import Any, Literal

import httpx
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from tasks.server.shared_limit import slots_of


@dataclass
class Limit:
    """One limit; slots in use decay, and each grant forgets the fraction of a slot (prefect 3.8.8)."""

    limit: int
    per_second: float
    active_slots: float = 0
    updated: float = 0.0
    active: bool = True

    def take(self, now: float, slots: int) -> bool:
        """Whether so many slots were granted."""
        decayed = max(0, self.active_slots - math.floor(self.per_second * (now - self.updated)))
        if decayed + slots > self.limit:
            return False
        self.active_slots, self.updated = decayed + slots, now
        return True


def failed(status: int) -> httpx.HTTPStatusError:
    """An answer that the client raises."""
    request = httpx.Request("POST", "http://prefect/api")
    return PrefectHTTPStatusError(str(status), request=request, response=httpx.Response(status, request=request))


class PrefectLimits:
    """A server with the limits of one provider, as its client sees it; `is_away` makes it unreachable."""

    def __init__(self, requests_per_minute: float, tokens_per_minute: float, latency_seconds: float = 0.01) -> None:
        self.limits = {
            f"api-{kind}": Limit(slots_of(value), value / 60)
            for kind, value in (("requests", requests_per_minute), ("tokens", tokens_per_minute))
        }
        self.calls = 0
        self.granted: list[tuple[float, str, int]] = []
        self.is_away = False
        self.stalls: list[tuple[float, float]] = []  # from, until: calls made meanwhile are answered at its end
        self.latency_seconds = latency_seconds

    def total(self, kind: str) -> int:
        """The slots granted so far."""
        return sum(slots for _, name, slots in self.granted if name == f"api-{kind}")

    async def read_global_concurrency_limit_by_name(self, name: str) -> GlobalConcurrencyLimitResponse:
        await self._answer()
        if name not in self.limits:
            raise ObjectNotFound(failed(404))
        found = self.limits[name]
        return GlobalConcurrencyLimitResponse(
            name=name,
            limit=found.limit,
            active=found.active,
            active_slots=int(found.active_slots),
            slot_decay_per_second=found.per_second,
        )

    async def increment_concurrency_slots(
        self, names: list[str], slots: int, mode: Literal["concurrency", "rate_limit"]
    ) -> httpx.Response:
        self.calls += 1
        await self._answer()
        granted: list[Any] = []
        for name in names:
            if (limit := self.limits.get(name)) is None:
                continue
            if slots > limit.limit:
                raise failed(422)
            if not limit.take(asyncio.get_running_loop().time(), slots):
                raise failed(423)
            self.granted.append((asyncio.get_running_loop().time(), name, slots))
            granted.append({"name": name, "limit": limit.limit})
        return httpx.Response(200, json=granted)

    async def _answer(self) -> None:
        now = asyncio.get_running_loop().time()
        stalled = next((until - now for start, until in self.stalls if start <= now < until), 0.0)
        await asyncio.sleep(stalled + self.latency_seconds)
        if self.is_away:
            raise httpx.ConnectError("All connection attempts failed")
