"""An event loop whose time passes only when everybody waits: an hour of pacing takes milliseconds."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Skipping(selectors.SelectSelector):
    """Waits no real time: what it would have waited is added to the loop's clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found and timeout:
            self.now += timeout
        return found


class ClockLoop(asyncio.SelectorEventLoop):
    """A loop on its own time, starting at 0."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.now


def run_on_clock(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, its waiting done in no time."""
    with asyncio.Runner(loop_factory=ClockLoop) as runner:
        return runner.run(work)


def sliding_most(times: list[tuple[float, float]], seconds: float = 60.0) -> float:
    """The most that was taken in any window of so many seconds, ends included at its start only."""
    most, total, first = 0.0, 0.0, 0
    for at, amount in times:
        total += amount
        while times[first][0] <= at - seconds:
            total -= times[first][1]
            first += 1
        most = max(most, total)
    return most
