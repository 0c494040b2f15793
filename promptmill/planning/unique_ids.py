"""The values of the id column, which tell rows apart: none is absent, and none stands there twice."""

import heapq
from collections.abc import Iterator, Sequence
from math import isnan

import numpy as np
import pyarrow as pa

from promptmill.cell_values import Unreadable
from promptmill.column_casts import plain_type
from promptmill.dataset.dataset import Dataset
from promptmill.errors import DatasetError
from promptmill.planning.many_keys import ManyKeys

_NEVER_ODD = frozenset({int, str})  # types of ids that need no closer look
_MOST_LOOKED_AT = 500  # pairs of rows with equal hashes whose ids are compared


class Hashes:
    """64-bit hashes of many values, to find repeated ones in bounded memory."""

    def __init__(self) -> None:
        self._keys = ManyKeys()
        self._added = 0

    def add(self, values: Sequence[object]) -> None:
        """The next values."""
        hashes = np.fromiter((hash((type(value).__name__, value)) for value in values), np.int64, len(values))
        numbers = np.arange(self._added, self._added + len(values))
        self._keys.add(hashes.view(np.uint64), np.zeros(len(values), np.uint64), numbers)
        self._added += len(values)

    def repeated(self) -> Iterator[tuple[int, int]]:
        """Pairs (row number, row number of the last earlier row with the same hash)."""
        for found, is_first in self._keys.repeated():
            numbers = found["number"]
            later = np.flatnonzero(~is_first)
            yield from zip(numbers[later].tolist(), numbers[later - 1].tolist(), strict=True)

    def repetitions(self) -> dict[int, int]:
        """Row number → how many earlier rows have its hash; rows with none are left out."""
        found: dict[int, int] = {}
        for later, earlier in self.repeated():
            found[later] = found.get(earlier, 0) + 1
        return found


def refuse_id_type(dataset: Dataset, column: str | None) -> None:
    """Raises: DatasetError when the id column's type can't tell rows apart."""
    if column is None:
        return
    kind = plain_type(dataset.schema.field(column).type)
    if kind.num_fields or pa.types.is_null(kind):
        raise DatasetError(
            f"the column {column!r} is {kind}; an id is a number, a text, a date or bytes (input.id_column). Name a column "
            "of such values, or leave input.id_column out to number the rows."
        )


def refuse_odd_ids(ids: Sequence[object], column: str, start: int) -> None:
    """Raises: DatasetError when one of these ids is absent or unreadable; the first row has the number `start`."""
    if _NEVER_ODD.issuperset(map(type, ids)):
        return
    for number, row_id in enumerate(ids, start):
        is_nan = isinstance(row_id, float) and isnan(row_id)
        if isinstance(row_id, Unreadable) or is_nan:
            reason = row_id.reason if isinstance(row_id, Unreadable) else "NaN"
            raise DatasetError(
                f"row {number} has {reason} in {column!r}; an id is a value that tells rows apart (input.id_column). Fix "
                "the value, or leave input.id_column out to number the rows."
            )
        if row_id is None:
            raise DatasetError(
                f"row {number} has a null in {column!r}; an id column has a value in every row (input.id_column). "
                "Fill it in, or leave input.id_column out to number the rows."
            )


def refuse_repeated_ids(dataset: Dataset, column: str, ids: Hashes) -> None:
    """Raises: DatasetError when two rows have the same id; it reads the values of rows whose hashes are equal."""
    suspects = heapq.nsmallest(_MOST_LOOKED_AT, ids.repeated())
    if not suspects:
        return
    values = _values_at(dataset, column, sorted({number for pair in suspects for number in pair}))
    for later, earlier in suspects:
        if values[earlier] == values[later]:
            count = sum(1 for _ in ids.repeated())
            raise DatasetError(
                f"rows {earlier} and {later} have the same {column!r}: {values[later]!r}; an id column is unique "
                f"(input.id_column). {count:,} rows repeat an id. Make it unique, or leave input.id_column out."
            )


def _values_at(dataset: Dataset, column: str, numbers: Sequence[int]) -> dict[int, object]:
    wanted = set(numbers)
    found: dict[int, object] = {}
    start = 0
    for table in dataset.read(10_000, [column]):
        for number in wanted & set(range(start, start + table.num_rows)):
            found[number] = table[column][number - start].as_py()
        start += table.num_rows
    return found
