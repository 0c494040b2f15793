"""Ends a run early: for one reason that holds for all rows; nothing new is sent, and requests on their way may finish.

A task that waits (for a slot, money, capacity or its next attempt) is cancelled at once. A task whose request is on its way
may finish, since its answer is paid for.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
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

    @contextmanager
    def waiting(self) -> Generator[None]:
        """Around anything that waits before sending.

        Raises: the reason, as soon as the run is stopped; CancelledError only when somebody else cancelled the task.
        """
        if self.reason is not None:
            raise self.reason
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it is only ever used inside a task
        self._waiting.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if task not in self._cancelled or self.reason is None:
                raise
            self._cancelled.discard(task)
            task.uncancel()
            raise self.reason from None
        finally:
            self._waiting.discard(task)


class HasPlaces(Protocol):
    """What gives places out (limits/places.py)."""

    async def acquire(self) -> object:
        """Wait for a place."""
        ...

    def release(self) -> None:
        """Give a place back."""
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

    def release(self) -> None:
        """Give the place back, if it is held."""
        if self.is_held:
            self.is_held = False
            self._places.release()
