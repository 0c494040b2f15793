"""Threads do work while its caller goes on. The caller waits only when too much work is left to do."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class WorkBehind:
    """Threads that make calls in the order in which they came. One caller at a time may use it."""

    def __init__(self, most: int, threads: int = 1, name: str = "") -> None:
        """`most`: the sum of the sizes of all calls that wait or run; a single call may be larger."""
        self._most = most
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._held: deque[tuple[Future[None], int]] = deque()
        self._size = 0
        self._is_over = False

    def do(self, work: Callable[[], object], size: int = 1) -> None:
        """Do this after all earlier work; wait until there is room for its size. Raises: what earlier work raised."""
        while self._held and (self._size + size > self._most or self._held[0][0].done()):
            self._take()
        self._held.append((self._threads.submit(self._do, work), size))
        self._size += size

    def wait(self) -> None:
        """Return when everything is done. Raises: what the work raised."""
        while self._held:
            self._take()

    def stop(self) -> None:
        """Begin nothing more, and return when no call runs any more. Drops the errors of what ran."""
        self._is_over = True
        self._threads.shutdown(cancel_futures=True)
        self._held.clear()

    def _take(self) -> None:
        future, size = self._held.popleft()
        self._size -= size
        future.result()

    def _do(self, work: Callable[[], object]) -> None:
        if self._is_over:
            return
        try:
            work()
        except BaseException:
            self._is_over = True  # what follows builds on it
            raise
