"""Where a row's answer lies, among files that no finished chunk has."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.checkpoints.answer_files import answers_table
from promptmill.checkpoints.index import AnswerIndex
from promptmill.checkpoints.store import BATCH_ROWS, Store
from promptmill.records import Completion, Usage
from promptmill.storage import Storage

IDS = [f"{number:032x}-{number:08x}" for number in range(24)]


def completion(custom_id: str) -> Completion:
    """A row's answer."""
    return Completion(custom_id, "x", None, "m", "stop", Usage(), Decimal(0), None, 1, "r", 1.0)


def stored(folder: Path, files: list[list[int]]) -> tuple[Store, list[str]]:
    """A store with these rows' answers in files."""
    store = Store(Storage(str(folder)))
    tables = [answers_table([completion(IDS[number]) for number in rows]) for rows in files]
    return store, [store.save_slice(f"b-{number:05d}", table) for number, table in enumerate(tables)]


@given(
    st.lists(st.lists(st.integers(0, 15), unique=True, max_size=6), max_size=5),
    st.lists(st.lists(st.integers(0, 23), unique=True, max_size=8), max_size=4),
)
def test_answers_are_found_wherever_they_lie_and_files_are_used_up_once_all_were_asked_for(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[int]], asked: list[list[int]]
) -> None:
    store, names = stored(tmp_path_factory.mktemp("store"), files)
    index = AnswerIndex(store, names)
    there = {number for rows in files for number in rows}

    for rows in asked:
        ids = [IDS[number] for number in rows]
        found = index.find(ids)
        assert sorted(found["custom_id"].to_pylist()) == sorted(IDS[number] for number in rows if number in there)
        assert index.holds(ids).tolist() == [number in there for number in rows]
    seen = {number for rows in asked for number in rows}
    used = [name for name, rows in zip(names, files, strict=True) if seen.issuperset(rows)]
    assert index.used_up(BATCH_ROWS) == (used if there else names)
    assert index.used_up("other/") == []


def test_files_are_read_few_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ten million answers, the names alone would take a gigabyte."""
    store, names = stored(tmp_path, [[number % 24] for number in range(120)])
    read: list[str] = []
    load = store.load

    def noted(name: str, columns: Sequence[str] | None = None) -> pa.Table:
        read.append(name)
        return load(name, columns)

    monkeypatch.setattr(store, "load", noted)

    loaded = store.load_all(names, ["custom_id"])
    next(loaded)

    assert len(read) < 60
    assert [name for name, _ in loaded] == names[1:]
    assert np.array_equal(AnswerIndex(store, names).holds(IDS), np.ones(24, np.bool_))
