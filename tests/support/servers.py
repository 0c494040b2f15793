"""The servers of a test process: each starts when a test first needs it, and all end when a test comes that needs none.

An idle Prefect server takes a sixth of a core, and there are up to three of them: the tests without a server come last and
have the machine for themselves.
"""

import fcntl
import os
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class Servers:
    """What is running, by name."""

    def __init__(self) -> None:
        self._running: dict[str, Any] = {}
        self._stack = ExitStack()

    def running(self, name: str, start: Callable[[], AbstractContextManager[T]]) -> T:
        """A server, started unless it runs already."""
        if name not in self._running:
            self._running[name] = self._stack.enter_context(start())
        return self._running[name]

    def end(self) -> None:
        """End all. `running` starts a server again if a later test needs it."""
        self._running.clear()
        self._stack.close()


@contextmanager
def a_core(folder: Path) -> Generator[None]:
    """While this lasts, a core is this process's: of all that ask by the same folder, no more compute than there are cores."""
    cores = os.cpu_count() or 1
    with ExitStack() as stack:
        locks = [stack.enter_context((folder / f"core-{number}.lock").open("w")) for number in range(cores)]
        if not any(_takes(lock.fileno()) for lock in locks):
            fcntl.flock(locks[os.getpid() % cores], fcntl.LOCK_EX)
        yield


def _takes(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
