"""Finds the answer file of a row, for rows that no finished chunk answers.

There may be millions of such rows: those of all batches of a run, or of all chunks after rows were inserted. So what is
known of them lies in SQLite's own temporary database, which leaves memory for the disk once it grows.
"""

import sqlite3
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from promptmill.arrow import pc
from promptmill.checkpoints.answer_files import ANSWERS, merge_answers, without_references
from promptmill.checkpoints.store import Store
from promptmill.errors import CheckpointUnreadable, StorageFailed
from promptmill.temporary_database import signed, telling_of_a_full_disk, temporary_database

_FIND = "SELECT rowid, file FROM answers WHERE hash = ?"


class AnswerIndex:
    """Knows which loose file holds each row's answer. Memory: a bit a row. Safe to use from many threads."""

    def __init__(self, store: Store, names: Sequence[str]) -> None:
        """Blocks. Raises: StorageFailed."""
        self._store = store
        self._last: tuple[int, pa.Table] | None = None  # number and answers of the last file that was read
        self._names: list[str] = []
        self._ends: list[int] = []  # for each file, how many answers there are up to its last one
        self._lock = threading.Lock()
        self._database = temporary_database()
        with self._running() as run:
            run.execute("CREATE TABLE answers (hash INTEGER, file INTEGER)")
            for name, table in store.load_all(names, ["custom_id"]):
                number = len(self._names)
                hashes = _hashes(table["custom_id"].to_pylist())
                run.executemany("INSERT INTO answers VALUES (?, ?)", ((value, number) for value in hashes))
                self._names.append(name)
                self._ends.append(len(hashes) + (self._ends[-1] if self._ends else 0))
            run.execute("CREATE INDEX by_hash ON answers (hash)")
        self._asked = np.zeros(self._count // 8 + 1, np.uint8)  # a bit for each answer

    @property
    def _count(self) -> int:
        return self._ends[-1] if self._ends else 0

    def find(self, custom_ids: Sequence[str]) -> pa.Table:
        """The answers that loose files hold for these rows, each once."""
        if not self._count:
            return ANSWERS.empty_table()
        numbers = set[int]()
        with self._running() as run:
            for value in _hashes(custom_ids):
                for place, number in run.execute(_FIND, (value,)):
                    self._asked[(place - 1) // 8] |= 1 << ((place - 1) % 8)
                    numbers.add(number)
        ids = pa.array(custom_ids, pa.string())
        tables: list[pa.Table] = []
        for number in sorted(numbers):
            try:
                table = without_references(self._load(number))
            except CheckpointUnreadable:
                continue
            tables.append(table.filter(pc.is_in(table["custom_id"], ids)))
        return merge_answers(tables)

    def holds(self, custom_ids: Sequence[str]) -> NDArray[np.bool_]:
        """For each of these rows, whether a loose file seems to have an answer."""
        if not self._count:
            return np.zeros(len(custom_ids), np.bool_)
        hashes = _hashes(custom_ids)
        with self._running() as run:
            found = [run.execute(_FIND, (value,)).fetchone() is not None for value in hashes]
        return np.array(found, np.bool_)

    def used_up(self, prefix: str) -> list[str]:
        """Names of the files with this prefix of which the caller asked for every answer."""
        asked = np.unpackbits(self._asked, count=self._count, bitorder="little")
        starts = [0, *self._ends]
        return [
            name
            for name, start, end in zip(self._names, starts, self._ends, strict=False)
            if name.startswith(prefix) and asked[start:end].all()
        ]

    @contextmanager
    def _running(self) -> Generator[sqlite3.Connection]:
        """The database, for one thread at a time. Raises: StorageFailed when the disk is full."""
        with telling_of_a_full_disk(StorageFailed, "find answers", " Every answer is kept."), self._lock:
            yield self._database

    def _load(self, number: int) -> pa.Table:
        """A file's answers. The last file stays in memory, since neighbouring chunks often need it too."""
        last = self._last
        if last is not None and last[0] == number:
            return last[1]
        table = self._store.load(self._names[number])
        self._last = (number, table)
        return table


def _hashes(custom_ids: Sequence[str]) -> list[int]:
    return signed(np.fromiter(map(hash_custom_id, custom_ids), np.uint64, len(custom_ids)))


def hash_custom_id(custom_id: str) -> int:
    """64 bits of a custom_id. Any other name hashes to a value that nobody asks for."""
    try:
        return int(custom_id[:8] + custom_id[-8:], 16)
    except ValueError:
        return 0
