"""An event loop whose time passes only when everybody waits: an hour of pacing takes as long as the Python in it."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
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
    """A loop on its own time, which starts at 0."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        """Seconds of this loop."""
        return self._skipping.now


def run_on_clock(work: Coroutine[Any, Any, T], loop: Callable[[], ClockLoop] = ClockLoop) -> T:
    """The result of a coroutine, its waiting done in no time."""
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(work)
