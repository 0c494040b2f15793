"""Rows of numbers that may come several times, held until all are there and given in the order of their keys."""

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from promptmill.errors import StorageFailed
from promptmill.temporary_database import signed, telling_of_a_full_disk, temporary_database

_ROWS_AT_ONCE = 50_000
_ENDS = np.uint64(2**20)  # of keys, which are hashes: most rows that aren't held are told by theirs, without a look-up
_IN_ORDER = (
    "SELECT row FROM (SELECT key, at, 0 AS turn, row FROM held UNION ALL SELECT key, at, 1 AS turn, row FROM copies) "
    "ORDER BY key, at, turn"
)


class HeldRows:
    """Rows of a record type with the fields `key` (unsigned, 64 bits) and `at` (a time). They lie in a temporary database."""

    def __init__(self, kind: np.dtype[np.void]) -> None:
        self._kind = kind
        self._database: sqlite3.Connection | None = None
        self._is_sorted = False
        self._has_end = np.zeros(int(_ENDS), np.bool_)  # whether a held key ends so

    @property
    def is_empty(self) -> bool:
        """Whether no row was added."""
        return self._database is None

    def add(self, rows: NDArray[np.void]) -> None:
        """Hold rows; call it before `add_copies`. Raises: StorageFailed."""
        if len(rows):
            with self._running() as run:
                self._insert(run, "held", rows)
            self._has_end[rows["key"] % _ENDS] = True

    def add_copies(self, rows: NDArray[np.void]) -> NDArray[np.bool_]:
        """Hold those rows whose keys are held already; returns which these are. Raises: StorageFailed."""
        with self._running() as run:
            if not self._is_sorted:
                run.execute("CREATE INDEX by_key ON held (key)")
                self._is_sorted = True
            look = "SELECT EXISTS (SELECT 1 FROM held WHERE key = ?)"
            found = self._has_end[rows["key"] % _ENDS]
            found[found] = [run.execute(look, (key,)).fetchone()[0] for key in signed(rows["key"][found])]
            self._insert(run, "copies", rows[found])
        return found

    def in_order(self) -> Iterator[NDArray[np.void]]:
        """All rows by key and time, a few at once, those with the same key together. Raises: StorageFailed."""
        if self._database is None:
            return
        rest = np.empty(0, self._kind)
        with self._running() as run:
            cursor = run.execute(_IN_ORDER)
            while blobs := cursor.fetchmany(_ROWS_AT_ONCE):
                rows = np.concatenate([rest, np.frombuffer(b"".join(blob for (blob,) in blobs), self._kind)])
                others = np.flatnonzero(rows["key"] != rows["key"][-1])
                whole = int(others[-1]) + 1 if len(others) else 0  # the last key may go on
                if whole:
                    yield rows[:whole]
                rest = rows[whole:]
        if len(rest):
            yield rest

    def _insert(self, run: sqlite3.Connection, table: str, rows: NDArray[np.void]) -> None:
        data, size = rows.tobytes(), self._kind.itemsize
        pieces = (data[start : start + size] for start in range(0, len(data), size))
        values = zip(signed(rows["key"]), rows["at"].tolist(), pieces, strict=True)
        run.executemany(f"INSERT INTO {table} VALUES (?, ?, ?)", values)  # noqa: S608 - one of our two tables

    @contextmanager
    def _running(self) -> Generator[sqlite3.Connection]:
        with telling_of_a_full_disk(StorageFailed, "add up what answers cost", " Every answer is kept."):
            if self._database is None:
                self._database = temporary_database()
                for table in ("held", "copies"):
                    self._database.execute(f"CREATE TABLE {table} (key INTEGER, at REAL, row BLOB)")
            yield self._database
