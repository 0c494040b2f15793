"""Watches which limit holds a run up (limits/binding.py), for panel, log, manifest and report."""

import asyncio
import time
from collections import Counter, deque

from promptmill.limits.binding import Limit, Moment, limit_at, shares_of
from promptmill.limits.places import Places
from promptmill.provider.client import Client

_LOOK_SECONDS = 0.25
_RECENT_LOOKS = 40  # ten seconds


class LimitWatch:
    """Looks at a run four times a second."""

    def __init__(self, client: Client, places: Places) -> None:
        self._client = client
        self._places = places
        self._seconds: Counter[Limit | None] = Counter()
        self._recent: deque[Limit | None] = deque(maxlen=_RECENT_LOOKS)

    async def watch(self) -> None:
        """Look until the task is cancelled."""
        then, computed = time.monotonic(), time.thread_time()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now, busy = time.monotonic(), time.thread_time()
            self.look(now - then, (busy - computed) / max(now - then, 1e-9))
            then, computed = now, busy

    def look(self, seconds: float, busy_share: float) -> None:
        """Count a stretch that ends now, in which the event loop's thread computed for a share of the time."""
        limit = limit_at(
            Moment(
                reason=self._client.limiter.waiting_reason,
                waits_for_money=self._client.budget.waiting > 0,
                waits_for_place=self._places.waiting > 0,
                on_wire=self._places.on_wire,
                places=self._places.limit,
                busy_share=busy_share,
            )
        )
        self._seconds[limit] += seconds  # pyright: ignore[reportArgumentType] - a Counter adds up floats as well
        self._recent.append(limit)

    @property
    def shares(self) -> dict[str, float]:
        """The limits that held the run up so far, with their share of the time."""
        return shares_of(self._seconds)

    @property
    def now(self) -> str | None:
        """The limit that held the run up for most of the last ten seconds; None when none did."""
        recent: Counter[Limit | None] = Counter(self._recent)
        return next(iter(shares_of(recent)), None)
