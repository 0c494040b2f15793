"""Ends a run from outside its event loop: from a signal's handler, or from another thread."""

import asyncio
from collections.abc import Awaitable, Coroutine, Generator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from promptmill.errors import Interrupted
from promptmill.stop import Stop

_Result = TypeVar("_Result")


class Interruption:
    """Knows whether somebody has asked a run to end, and tells the run at any point of its work."""

    def __init__(self) -> None:
        self.is_asked = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._stop: Stop | None = None

    def end(self) -> bool:
        """Ask the run to end; False if no event loop runs it, so that only the caller can end it."""
        self.is_asked = True
        loop = self._loop
        if loop is None:
            return False
        with suppress(RuntimeError):  # the loop has just closed
            loop.call_soon_threadsafe(self._end)
        return True

    def tell(self, rows: int) -> None:
        """Call it from work in a thread (telling.py). Raises: Interrupted if somebody has asked the run to end."""
        del rows
        if self.is_asked:
            raise Interrupted

    async def allowing(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run work that `end` ends; returns its result. Raises: Interrupted; any error of the work."""
        self._task, self._loop = asyncio.ensure_future(work), asyncio.get_running_loop()
        if self.is_asked:
            self._task.cancel()
        try:
            return await self.explaining(self._task)
        finally:
            self._loop = None

    async def explaining(self, work: Awaitable[_Result]) -> _Result:
        """Run work that `end` cancels; returns its result. Raises: Interrupted; any error of the work."""
        try:
            return await work
        except asyncio.CancelledError:
            if not self.is_asked:
                raise
            raise Interrupted from None

    @contextmanager
    def stopping(self, stop: Stop) -> Generator[None]:
        """While this lasts, `end` lets requests in flight finish; at other times it cancels waiting and planning."""
        self._stop = stop
        try:
            yield
        finally:
            self._stop = None

    def _end(self) -> None:
        if self._stop is not None:
            self._stop.interrupt(Interrupted())
        elif self._task is not None:
            self._task.cancel()
