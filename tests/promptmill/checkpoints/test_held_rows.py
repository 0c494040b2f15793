"""Rows that may come several times, in the order of their keys whatever is held at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from promptmill.checkpoints.held_rows import HeldRows
from promptmill.errors import StorageFailed

KIND = np.dtype([("key", "<u8"), ("at", "<f8"), ("name", "<u4")])
KEYS = st.sampled_from([0, 1, 7, 2**63 - 1, 2**63, 2**64 - 1])
ROWS = st.lists(st.tuples(KEYS, st.sampled_from([0.0, 1.5, 2e9])), max_size=40)


def table(rows: list[tuple[int, float]], first_name: int) -> NDArray[np.void]:
    """Rows with names in the order of their making."""
    return np.array([(key, at, first_name + number) for number, (key, at) in enumerate(rows)], KIND)


@given(ROWS, ROWS, st.integers(1, 9))
def test_rows_come_by_key_and_time_and_those_with_one_key_together(
    held: list[tuple[int, float]], planned: list[tuple[int, float]], at_once: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("promptmill.checkpoints.held_rows._ROWS_AT_ONCE", at_once)
        rows = HeldRows(KIND)
        rows.add(table(held, 0))
        found = rows.add_copies(table(planned, 100)).tolist() if held else [False] * len(planned)
        given_rows = list(rows.in_order())

    keys = {key for key, _ in held}
    copies = [row for row, is_held in zip(table(planned, 100), found, strict=True) if is_held]
    expected = sorted((*table(held, 0), *copies), key=lambda row: (row["key"], row["at"], row["name"]))
    together = [row for part in given_rows for row in part]
    assert found == [key in keys for key, _ in planned]
    assert sorted(map(str, together)) == sorted(map(str, expected))
    for part in given_rows:
        assert [(row["key"], row["at"]) for row in part] == sorted(
            ((row["key"], row["at"]) for row in part), key=lambda pair: (np.int64(np.uint64(pair[0])), pair[1])
        )
    assert len({key for part in given_rows for key in set(part["key"].tolist())}) == sum(
        len(set(part["key"].tolist())) for part in given_rows
    )


def test_nothing_is_held_at_first() -> None:
    rows = HeldRows(KIND)
    rows.add(table([], 0))

    assert rows.is_empty
    assert list(rows.in_order()) == []


def test_a_full_disk_is_told_as_a_failure_of_storage() -> None:
    rows = HeldRows(KIND)
    rows.add(table([(1, 0.0)], 0))
    assert rows._database is not None
    rows._database.execute("PRAGMA max_page_count = 8")

    with pytest.raises(StorageFailed, match="SQLITE_TMPDIR"):
        rows.add(table([(key, 0.0) for key in range(10_000)], 0))
