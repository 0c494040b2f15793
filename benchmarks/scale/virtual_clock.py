"""An event loop on a clock of its own: hours of pacing take as long as the Python in them, and each run is the same."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
_STORAGE_SECONDS = 0.05  # an assumption: what one call in a thread takes, which here is always one to the storage


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


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop on its own time, which starts at 0; what goes to a thread is done at once and answered later."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        """Seconds of this loop."""
        return self._skipping.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """What the function returns, after the time that a call to the storage takes."""
        future = self.create_future()
        result = func(*args)
        self.call_later(_STORAGE_SECONDS, future.set_result, result)
        return future


def run_virtually(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, its waiting done in no time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
