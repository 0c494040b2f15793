"""How many equal keys came before each key, on every SQLite that Python comes with."""

import sqlite3
from typing import Any

import pytest

from promptmill.planning.earlier_keys import EarlierKeys

_SINCE_3_35 = "RETURNING"  # Debian 11 has 3.34, and Python 3.11 of RHEL 8 takes the system's 3.26


def test_keys_are_counted_in_words_that_an_old_sqlite_knows(monkeypatch: pytest.MonkeyPatch):
    said = list[str]()

    def connect(*values: Any, **options: Any) -> sqlite3.Connection:
        database = real(*values, **options)
        database.set_trace_callback(said.append)
        return database

    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", connect)
    keys = EarlierKeys()
    counted = [*keys.add([b"a", b"b", b"a"]), *keys.add([b"c", b"a", b"b"])]
    keys.close()

    assert counted == [0, 0, 1, 0, 2, 1]
    assert [statement for statement in said if _SINCE_3_35 in statement] == []
    assert len(said) > len(counted)
