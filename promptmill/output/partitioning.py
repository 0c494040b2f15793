"""Rows → the folders of `output.partition_by`, and back: day=2024-01-31/part-….parquet. Pure.

As Hive, Spark and Arrow have it, the files in such a folder lack the columns that the folder stands for. So only types
whose values come back from a text may be columns of folders, and the manifest says which type a column has.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import prod

import numpy as np
import pyarrow as pa

from promptmill.arrow import pc
from promptmill.column_types import ARROW_ERRORS, filter_rows
from promptmill.errors import DatasetError
from promptmill.hive_folders import FOLDER_TYPES, folder_of, values_in
from promptmill.output.manifest import FolderColumn
from promptmill.shorten import shorten

_MOST_FOLDERS = 1_000  # folders with rows; Arrow's own writer ends at 1,024
_MOST_FOLDER_BYTES = 255  # of a name on a disk


def split_by_folder(table: pa.Table, names: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
    """The rows of each folder, in their order, without the columns that the folder stands for.

    A folder is "" or ends with a slash.
    """
    if not names:
        yield "", table
        return
    rest = table.drop_columns(list(names))
    folders, places = _folders(table, names)
    for place in np.unique(places) if len(folders) > 1 else [0] if table.num_rows else []:
        part = rest if len(folders) == 1 else filter_rows(rest, pa.array(places == place))
        yield folders[place], part


def with_folder_columns(table: pa.Table, path: str, columns: Iterable[FolderColumn]) -> pa.Table:
    """A part's rows with these columns of its folders at the end."""
    values = dict(values_in(path))
    for column in columns:
        kind = FOLDER_TYPES[column.type]
        value = pa.array([values.get(column.name)], pa.string()).cast(kind)[0]
        table = table.append_column(pa.field(column.name, kind), pa.repeat(value, table.num_rows))
    return table


class FolderCheck:
    """Sees all rows before anything is sent, and refuses values that can't become folders."""

    def __init__(self, names: Sequence[str], others: Sequence[int] = ()) -> None:
        """`names` are columns of the input; `others` says how many values each column of the answers may have."""
        self.names = tuple(names)
        self._others = prod(others)
        self._seen: set[str] = set()

    def add(self, rows: pa.Table) -> None:
        """Look at rows that have the columns `names`. Raises: DatasetError."""
        if not self.names:
            return
        for name in self.names:
            _refuse_odd_values(name, rows[name])
        folders, _ = _folders(rows, self.names)
        self._seen.update(folders)
        if len(self._seen) * self._others > _MOST_FOLDERS:
            raise DatasetError(
                f"the columns {', '.join(map(repr, self.names))} have {len(self._seen):,} different values or more; an output "
                f"has at most {_MOST_FOLDERS:,} folders (output.partition_by). Partition by a column with fewer values, "
                "such as a day or a country."
            )


def refuse_long_folder(name: str, value: str | None) -> None:
    """Raises: DatasetError when the folder for a value has a name that disks don't take."""
    folder = folder_of(name, value)
    if len(folder) > _MOST_FOLDER_BYTES:
        raise DatasetError(
            f"the column {name!r} has the value {shorten(str(value), 60)!r}, whose folder would have a name of {len(folder):,} "
            f"bytes; the limit is {_MOST_FOLDER_BYTES} (output.partition_by). Partition by a column with short values."
        )


def _refuse_odd_values(name: str, column: pa.ChunkedArray) -> None:
    values = pc.unique(_plain(column))
    try:
        texts = values.cast(pa.string())
        found: list[str | None] = texts.to_pylist()
        comes_back = texts.cast(values.type).equals(values)
    except (UnicodeDecodeError, *ARROW_ERRORS):
        found, comes_back = [], False
    if not comes_back:
        raise DatasetError(
            f"the column {name!r} has a value that doesn't come back from the name of a folder, such as text that isn't valid "
            "Unicode (output.partition_by). Fix the value, or partition by another column."
        )
    for value in found:
        refuse_long_folder(name, value)


def _plain(column: pa.ChunkedArray) -> pa.Array:
    kind = column.type
    plain = column.cast(kind.value_type) if pa.types.is_dictionary(kind) else column
    return plain.combine_chunks()


def _folders(table: pa.Table, names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The folders that occur, and for each row the place of its own."""
    folders, places = [""], np.zeros(table.num_rows, dtype=np.int64)
    for name in names:
        coded = _plain(table[name]).cast(pa.string()).dictionary_encode(null_encoding="encode")
        values: list[str | None] = coded.dictionary.to_pylist()
        pairs = places * max(len(values), 1) + coded.indices.to_numpy(zero_copy_only=False)
        found, places = np.unique(pairs, return_inverse=True)
        folders = [
            f"{folders[pair // len(values)]}{folder_of(name, values[pair % len(values)])}/" for pair in found.tolist()
        ]
    return folders, places
