"""Ends a run early: for one reason that holds for all rows; nothing new is sent, and requests on their way may finish.

A task that waits (for a slot, money, capacity or its next attempt) is cancelled at once. A task whose request is on its way
may finish, since its answer is paid for.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from promptmill.errors import RunStopped


class Stop:
    """Whether and why the run ends early; shared by everything that sends in this process."""

    def __init__(self, guard: Callable[[], Awaitable[None]] | None = None) -> None:
        self.reason: RunStopped | None = None
        self._guard = guard  # raises RunStopped once the run may send no more
        self.is_urgent = asyncio.Event()  # somebody waits for the end: requests on their way get seconds, not minutes
        self._waiting: set[asyncio.Task[Any]] = set()
        self._cancelled: set[asyncio.Task[Any]] = set()

    def because(self, reason: RunStopped) -> RunStopped:
        """Stop the run; the first reason holds. Returns it, to be raised."""
        if self.reason is None:
            self.reason = reason
            current = asyncio.current_task()
            for task in list(self._waiting):
                if task is not current and task.cancel():
                    self._cancelled.add(task)
        return self.reason

    async def confirm(self) -> None:
        """Make sure, right before a request is sent, that the run still may send. Raises: RunStopped."""
        if self._guard is not None:
            try:
                await self._guard()
            except RunStopped as error:
                raise self.because(error) from None

    def interrupt(self, reason: RunStopped) -> None:
        """Stop the run and have it end within seconds, also where it was stopping already."""
        self.because(reason)
        self.is_urgent.set()

    def waiting(self) -> "_Waiting":
        """Around anything that waits before sending.

        Raises: the reason, as soon as the run is stopped; CancelledError only when somebody else cancelled the task.
        """
        return _Waiting(self)

    def begin_waiting(self) -> asyncio.Task[Any]:
        """The task, which may be cancelled from now on. Raises: the reason, once the run is stopped."""
        if self.reason is not None:
            raise self.reason
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it is only ever used inside a task
        self._waiting.add(task)
        return task

    def end_waiting(self, task: asyncio.Task[Any], error: BaseException | None) -> None:
        """The task waits no more, because of the error if there is one. Raises: the reason, if that is what cancelled it."""
        self._waiting.discard(task)
        if error is None or not isinstance(error, asyncio.CancelledError):
            return
        if task in self._cancelled and self.reason is not None:
            self._cancelled.discard(task)
            task.uncancel()
            raise self.reason from None


class _Waiting:
    """A class, since a row enters six of these, and a generator takes twice the CPU."""

    __slots__ = ("_stop", "_task")

    def __init__(self, stop: Stop) -> None:
        self._stop = stop

    def __enter__(self) -> None:
        self._task = self._stop.begin_waiting()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._stop.end_waiting(self._task, error)


class HasPlaces(Protocol):
    """What gives places out (limits/places.py)."""

    async def acquire(self) -> object:
        """Wait for a place."""
        ...

    def release(self) -> None:
        """Give a place back."""
        ...

    @property
    def may_be_kept(self) -> bool:
        """Whether the holder of a place may send the next request through it."""
        ...


class Slot:
    """A place for a request in flight; giving it back twice is no error."""

    __slots__ = ("_places", "is_held")

    def __init__(self, places: HasPlaces) -> None:
        self._places = places
        self.is_held = False

    async def acquire(self) -> None:
        """Wait for a place."""
        await self._places.acquire()
        self.is_held = True

    @property
    def may_be_kept(self) -> bool:
        """Whether the next request may go out through the place."""
        return self.is_held and self._places.may_be_kept

    def release(self) -> None:
        """Give the place back, if it is held."""
        if self.is_held:
            self.is_held = False
            self._places.release()
