"""Rows with equal keys are found whether the keys are in memory or in a file."""

import errno
import tempfile
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from promptmill.errors import DatasetError
from promptmill.planning.many_keys import ManyKeys
from promptmill.planning.unique_ids import Hashes

HALF = st.integers(0, 3) | st.sampled_from([2**63, 2**64 - 1])


def add(keys: ManyKeys, rows: list[tuple[int, int]], first: int) -> None:
    high, low = (np.array([row[half] for row in rows], np.uint64) for half in (0, 1))
    keys.add(high, low, range(first, first + len(rows)), [number * 10 for number in range(first, first + len(rows))])


@given(rows=st.lists(st.tuples(HALF, HALF), max_size=40), block=st.integers(1, 9), held_rows=st.integers(1, 50))
@example(rows=[(0, 1), (1, 0), (1, 1), (0, 0)], block=1, held_rows=1)  # their mixed bytes may be equal
def test_rows_with_an_equal_key_come_together_in_order(rows: list[tuple[int, int]], block: int, held_rows: int) -> None:
    keys = ManyKeys(held_rows)
    for first in range(0, len(rows), block):
        add(keys, rows[first : first + block], first)

    found: list[list[int]] = []
    for part, is_first in keys.repeated():
        for number, amount, begins in zip(part["number"].tolist(), part["amount"].tolist(), is_first, strict=True):
            assert amount == number * 10
            if begins:
                found.append([])
            found[-1].append(number)
    wanted = [[number for number, row in enumerate(rows) if row == key] for key in dict.fromkeys(rows)]

    assert sorted(found) == sorted(numbers for numbers in wanted if len(numbers) > 1)
    assert sum(len(part) for part, _ in keys.repeated()) == sum(map(len, found))  # a second look finds the same


def test_neighbouring_keys_lie_in_many_parts() -> None:
    keys = ManyKeys(held_rows=100_000)
    add(keys, [(number, 0) for number in range(100_000)], 0)
    parts = [len(part) for part in keys._parts()]

    assert sum(parts) == 100_000
    assert max(parts) < 2 * 100_000 / 256


def test_repeated_ids_are_paired_with_the_row_before() -> None:
    ids = Hashes()
    ids.add(["a", "b", 1])
    ids.add(["a", "1", "a"])

    assert sorted(ids.repeated()) == [(3, 0), (5, 3)]
    assert ids.repetitions() == {3: 1, 5: 2}


def test_a_full_disk_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)

    with pytest.raises(DatasetError, match=r"28 bytes a row .*Free space there, or set TMPDIR"):
        add(ManyKeys(held_rows=2), [(0, 0), (1, 1)], 0)
