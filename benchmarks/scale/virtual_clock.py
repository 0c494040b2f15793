"""The clock of the simulated workers, on which a call to the storage takes a while too."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from benchmarks.virtual_clock import ClockLoop, run_on_clock

T = TypeVar("T")
_STORAGE_SECONDS = 0.05  # an assumption: what one call in a thread takes, which here is always one to the storage


class _StorageLoop(ClockLoop):
    """A loop that does at once what goes to a thread, and answers later."""

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """What the function returns, after the time that a call to the storage takes."""
        future = self.create_future()
        result = func(*args)
        self.call_later(_STORAGE_SECONDS, future.set_result, result)
        return future


def run_virtually(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, its waiting done in no time."""
    return run_on_clock(work, _StorageLoop)
