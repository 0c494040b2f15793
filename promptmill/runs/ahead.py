"""Reading ahead: what comes next is read in threads while the caller works on what it has, in order and in bounded memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import repeat
from typing import TypeVar

import pyarrow as pa

_MOST_BYTES = 16 * 2**20  # read ahead of the caller; one table alone may be larger, and then nothing is
_MOST_TABLES = 16
_Item = TypeVar("_Item")


def load_ahead(
    load: Callable[[_Item], pa.Table], items: Iterable[_Item], threads: int = _MOST_TABLES
) -> Generator[pa.Table]:
    """The table of each item, in order; the next ones are loaded side by side. Raises: what `load` raises, in its turn."""
    for table in _in_order(load, items, threads):
        assert table is not None  # noqa: S101 - `load` gives none
        yield table


def read_ahead(tables: Iterator[pa.Table]) -> Generator[pa.Table]:
    """The same tables; a thread reads the next ones. Raises: what reading raises, in its turn."""
    for table in _in_order(lambda _: next(tables, None), repeat(None), 1):
        if table is None:
            return
        yield table


def _in_order(
    work: Callable[[_Item], pa.Table | None], items: Iterable[_Item], threads: int
) -> Generator[pa.Table | None]:
    """How many are under way follows from the largest table so far: the first one is waited for."""
    held: deque[Future[pa.Table | None]] = deque()
    largest = _MOST_BYTES
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ahead")
    try:
        for number, item in enumerate(items):
            held.append(pool.submit(work, item))
            if len(held) >= max(1, min(_MOST_TABLES, _MOST_BYTES // largest)):
                table = held.popleft().result()
                size = 1 if table is None else max(1, table.nbytes)
                largest = max(size, largest if number else 0)
                yield table
        while held:
            yield held.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
