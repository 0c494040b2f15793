"""Work in threads behind the one that makes it: the maker goes on, and waits where too much waits to be done."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class WorkBehind:
    """Calls in threads of their own, begun in the order in which they came. For one maker at a time."""

    def __init__(self, most: int, threads: int = 1, name: str = "") -> None:
        """`most`: the sizes of all calls that wait or are under way add up to so much at most; one alone may be larger."""
        self._most = most
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._held: deque[tuple[Future[None], int]] = deque()
        self._size = 0
        self._is_over = False

    def do(self, work: Callable[[], object], size: int = 1) -> None:
        """Have it done; waits until there is room for its size. Raises: what earlier work raised; it's not begun then."""
        while self._held and (self._size + size > self._most or self._held[0][0].done()):
            self._take()
        self._held.append((self._threads.submit(self._do, work), size))
        self._size += size

    def wait(self) -> None:
        """Return when everything is done. Raises: what the work raised."""
        while self._held:
            self._take()

    def stop(self) -> None:
        """Begin nothing more, and return when nothing is under way; errors are nobody's by now."""
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
