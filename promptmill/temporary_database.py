"""SQLite's own temporary database, for what grows by the row: it leaves memory for the disk once it grows.

It has no name, nobody else sees it, and it is gone when its connection is closed.
"""

import sqlite3
import tempfile
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from promptmill.errors import PromptmillError


def temporary_database() -> sqlite3.Connection:
    """A connection for one thread at a time, within a transaction that is never committed."""
    database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode = OFF")
    database.execute("PRAGMA synchronous = OFF")
    database.execute("BEGIN")
    return database


def signed(hashes: NDArray[np.uint64]) -> list[int]:
    """Hashes of 64 bits as SQLite takes them, with a sign."""
    return hashes.astype("<u8").view("<i8").tolist()


@contextmanager
def telling_of_a_full_disk(kind: type[PromptmillError], purpose: str, comfort: str = "") -> Generator[None]:
    """Raises: `kind` for an error of the database, which is nearly always a full disk; `purpose`: "find equal rows"."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise kind(
            f"{tempfile.gettempdir()} takes no more of what is kept to {purpose} ({error}). Free space there, or set "
            f"SQLITE_TMPDIR to a folder with more.{comfort}"
        ) from error
