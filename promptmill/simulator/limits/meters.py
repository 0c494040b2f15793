"""The two ways to count what a minute holds: a bucket that refills, and a sliding window.

The clock is an argument everywhere.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Protocol


class Meter(Protocol):
    """One limit; `now` is a monotonic time in seconds that never goes back."""

    limit: int  # per window
    capacity: int  # the largest amount that can ever be taken at once

    def remaining(self, now: float) -> float:
        """What could be taken at once."""
        ...

    def wait_seconds(self, now: float, amount: float) -> float:
        """Seconds until this amount could be taken; 0: now."""
        ...

    def reset_seconds(self, now: float) -> float:
        """Seconds until the limit is unused again."""
        ...

    def take(self, now: float, amount: float) -> None:
        """Use some of the limit; forget any amount beyond it."""
        ...

    def give_back(self, now: float, amount: float) -> None:
        """Undo the last `take`."""
        ...


@dataclass(slots=True)
class Bucket:
    """A limit that refills continuously, up to its capacity."""

    limit: int
    capacity: int
    window_seconds: float
    level: float
    updated: float

    def remaining(self, now: float) -> float:
        """The level, refilled up to now."""
        self.level = min(self.capacity, self.level + (now - self.updated) * self.limit / self.window_seconds)
        self.updated = now
        return self.level

    def wait_seconds(self, now: float, amount: float) -> float:
        """Time to refill what is missing."""
        return max(0.0, amount - self.remaining(now)) * self.window_seconds / self.limit

    def reset_seconds(self, now: float) -> float:
        """Time to refill to the brim."""
        return (self.capacity - self.remaining(now)) * self.window_seconds / self.limit

    def take(self, now: float, amount: float) -> None:
        """Lower the level, never below empty."""
        self.level = max(0.0, self.remaining(now) - amount)

    def give_back(self, now: float, amount: float) -> None:
        """Raise the level, never above the brim."""
        self.level = min(self.capacity, self.remaining(now) + amount)


class SlidingWindow:
    """A limit on what is taken in any window of its length."""

    def __init__(self, limit: int, window_seconds: float) -> None:
        self.limit = limit
        self.capacity = limit
        self._window_seconds = window_seconds
        self._taken: deque[tuple[float, float]] = deque()  # (time, amount), oldest first
        self._used = 0.0

    def remaining(self, now: float) -> float:
        """The limit minus the amounts of the last window."""
        while self._taken and self._taken[0][0] <= now - self._window_seconds:
            self._used -= self._taken.popleft()[1]
        return max(0.0, self.limit - self._used)

    def wait_seconds(self, now: float, amount: float) -> float:
        """Seconds until enough of the oldest entries have left the window; infinite if that never happens."""
        missing = amount - self.remaining(now)
        if missing <= 0:
            return 0.0
        for time, taken in self._taken:
            missing -= taken
            if missing <= 0:
                return time + self._window_seconds - now
        return math.inf

    def reset_seconds(self, now: float) -> float:
        """Time until the newest entry has left the window."""
        self.remaining(now)
        return self._taken[-1][0] + self._window_seconds - now if self._taken else 0.0

    def take(self, now: float, amount: float) -> None:
        """Enter an amount; above the limit the oldest entries make room, so that hammering keeps the window full."""
        self.remaining(now)
        self._taken.append((now, amount))
        self._used += amount
        while self._used > self.limit and len(self._taken) > 1:
            self._used -= self._taken.popleft()[1]

    def give_back(self, now: float, amount: float) -> None:
        """Remove the newest entry, which was just taken."""
        self.remaining(now)
        if self._taken and self._taken[-1][1] == amount:
            self._used -= self._taken.pop()[1]
