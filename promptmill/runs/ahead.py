"""Threads read the next tables, in order and in bounded memory, while the caller works on the present one."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import repeat
from typing import TypeVar

import pyarrow as pa

_MOST_BYTES = 16 * 2**20  # read ahead of the caller; one table alone may be larger, and then nothing is
_AHEAD_ON_DISK = 2  # tables: each thread more holds memory and makes nothing faster
_AHEAD_OF_SERVERS = 8  # each waits for a server's answer most of the time
_Item = TypeVar("_Item")


def load_ahead(
    load: Callable[[_Item], pa.Table], items: Iterable[_Item], *, is_local: bool = True
) -> Generator[pa.Table]:
    """The table of each item, in order; threads load the next ones. Raises: what `load` raises, at its table's turn."""
    most = _AHEAD_ON_DISK if is_local else _AHEAD_OF_SERVERS
    for table in _in_order(load, items, most, threads=most):
        assert table is not None  # noqa: S101 - `load` gives none
        yield table


def read_ahead(tables: Iterator[pa.Table]) -> Generator[pa.Table]:
    """The same tables; a thread reads the next ones. Raises: what reading raises, at its table's turn."""
    for table in _in_order(lambda _: next(tables, None), repeat(None), _AHEAD_ON_DISK, threads=1):
        if table is None:
            return
        yield table


def _in_order(
    work: Callable[[_Item], pa.Table | None], items: Iterable[_Item], most: int, threads: int
) -> Generator[pa.Table | None]:
    """Read one table first. Its size, and later that of the largest, says how many tables fit into the bound."""
    held: deque[Future[pa.Table | None]] = deque()
    largest: int | None = None
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ahead")
    try:
        for item in items:
            held.append(pool.submit(work, item))
            if largest is None or len(held) > min(most, _MOST_BYTES // max(largest, 1)):
                table = held.popleft().result()
                largest = max(largest or 0, 0 if table is None else table.nbytes)
                yield table
        while held:
            yield held.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
