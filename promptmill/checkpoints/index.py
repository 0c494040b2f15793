"""Finds the answer file of a row, for rows that no finished chunk answers."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from promptmill.arrow import pc
from promptmill.checkpoints.answer_files import ANSWERS, merge_answers, without_references
from promptmill.checkpoints.store import Store
from promptmill.errors import CheckpointUnreadable


class AnswerIndex:
    """Knows which loose file holds each row's answer. Memory: 12 bytes a row, whatever the answers' size."""

    def __init__(self, store: Store, names: Sequence[str]) -> None:
        self._store = store
        self._last: tuple[int, pa.Table] | None = None  # number and answers of the last file that was read
        self._names: list[str] = []
        hashes: list[NDArray[np.uint64]] = []
        files: list[NDArray[np.uint32]] = []
        for name, table in store.load_all(names, ["custom_id"]):
            found = np.fromiter(
                (hash_custom_id(custom_id) for custom_id in table["custom_id"].to_pylist()), np.uint64, table.num_rows
            )
            hashes.append(found)
            files.append(np.full(len(found), len(self._names), np.uint32))
            self._names.append(name)
        joined = np.concatenate(hashes) if hashes else np.empty(0, np.uint64)
        order = np.argsort(joined, kind="stable")
        self._hashes = joined[order]
        self._files = np.concatenate(files)[order] if files else np.empty(0, np.uint32)
        self._asked = np.zeros(len(joined), np.bool_)

    def find(self, custom_ids: Sequence[str]) -> pa.Table:
        """The answers that loose files hold for these rows, each once."""
        if not len(self._hashes):
            return ANSWERS.empty_table()
        wanted = np.fromiter((hash_custom_id(custom_id) for custom_id in custom_ids), np.uint64, len(custom_ids))
        low = np.searchsorted(self._hashes, wanted, "left")
        high = np.searchsorted(self._hashes, wanted, "right")
        for start, stop in zip(low, high, strict=True):
            self._asked[start:stop] = True
        numbers = {int(self._files[i]) for start, stop in zip(low, high, strict=True) for i in range(start, stop)}
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
        wanted = np.fromiter((hash_custom_id(custom_id) for custom_id in custom_ids), np.uint64, len(custom_ids))
        return np.isin(wanted, self._hashes)

    def used_up(self, prefix: str) -> list[str]:
        """Names of the files with this prefix of which the caller asked for every answer."""
        left = set(self._files[~self._asked].tolist())
        return [name for number, name in enumerate(self._names) if number not in left and name.startswith(prefix)]

    def _load(self, number: int) -> pa.Table:
        """A file's answers. The last file stays in memory, since neighbouring chunks often need it too."""
        last = self._last
        if last is not None and last[0] == number:
            return last[1]
        table = self._store.load(self._names[number])
        self._last = (number, table)
        return table


def hash_custom_id(custom_id: str) -> int:
    """64 bits of a custom_id. Any other name hashes to a value that nobody asks for."""
    try:
        return int(custom_id[:8] + custom_id[-8:], 16)
    except ValueError:
        return 0
