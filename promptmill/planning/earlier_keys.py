"""Keys as they come: how many earlier rows have each, exactly and in bounded memory.

A plan that grows while a run asks can't wait for the last row to know who shares a request (many_keys.py). The keys lie in
SQLite's own temporary database, which leaves memory for the disk once it grows.
"""

from collections.abc import Iterable

from promptmill.errors import DatasetError
from promptmill.temporary_database import telling_of_a_full_disk, temporary_database

# RETURNING would say all this in one statement, but SQLite knows it from 3.35 on, and some Pythons come with an older one
_INSERT = "INSERT OR IGNORE INTO seen VALUES (?, 0)"
_COUNT = "UPDATE seen SET earlier = earlier + 1 WHERE key = ?"
_LOOK = "SELECT earlier FROM seen WHERE key = ?"


class EarlierKeys:
    """How often keys came before; calls may come from different threads, one at a time."""

    def __init__(self) -> None:
        self._database = temporary_database()
        self._database.execute("CREATE TABLE seen (key BLOB PRIMARY KEY, earlier INTEGER) WITHOUT ROWID")

    def add(self, keys: Iterable[bytes]) -> list[int]:
        """For each of the next keys, how many keys before it are equal. Raises: DatasetError when the disk is full."""
        with telling_of_a_full_disk(DatasetError, "find equal rows"):
            return [self._add(key) for key in keys]

    def _add(self, key: bytes) -> int:
        run = self._database.execute
        if run(_INSERT, (key,)).rowcount:
            return 0
        run(_COUNT, (key,))
        return run(_LOOK, (key,)).fetchone()[0]

    def close(self) -> None:
        """Give its memory and its file back."""
        self._database.close()
