"""The values of the id column, which tell rows apart: none is absent, and none stands there twice."""

from collections.abc import Sequence
from math import isnan

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from promptmill.cell_values import Unreadable
from promptmill.column_types import plain_type
from promptmill.dataset.dataset import Dataset
from promptmill.errors import DatasetError


class Hashes:
    """64-bit hashes of many values, to find repeated ones in eight bytes a value."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.int64]] = []

    def add(self, values: Sequence[object]) -> None:
        """The next values."""
        self._parts.append(
            np.fromiter((hash((type(value).__name__, value)) for value in values), np.int64, len(values))
        )

    def repeated(self) -> list[tuple[int, int]]:
        """Pairs (row number, row number of an earlier row with the same hash)."""
        joined = np.concatenate(self._parts) if self._parts else np.empty(0, np.int64)
        order = np.argsort(joined, kind="stable")
        same = np.flatnonzero(joined[order][1:] == joined[order][:-1])
        return [(int(order[i + 1]), int(order[i])) for i in same]

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
    suspects = ids.repeated()
    if not suspects:
        return
    numbers = sorted({number for pair in suspects for number in pair})[:1000]
    values = _values_at(dataset, column, numbers)
    for later, earlier in suspects:
        if earlier in values and later in values and values[earlier] == values[later]:
            raise DatasetError(
                f"rows {earlier} and {later} have the same {column!r}: {values[later]!r}; an id column is unique "
                f"(input.id_column). {len(suspects):,} rows repeat an id. Make it unique, or leave input.id_column out."
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
