"""One version of a table in a lakehouse: the Parquet files that it consists of.

A Delta or Iceberg table is a log beside Parquet files that never change. The log says which of the files a version has. So a
version is read as the list of its files, by the same reader as all Parquet. The folder itself is no dataset: files that were
removed from the table, or that a failed write left behind, still lie in it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from promptmill.errors import DatasetError

Partitions = tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class TableFile:
    """A Parquet file of a table."""

    path: str  # as its filesystem knows it
    bytes: int
    tag: str  # changes with the content
    partitions: Partitions = ()  # columns whose value is the same in all of its rows


@dataclass(frozen=True, slots=True)
class TableVersion:
    """A version of a table."""

    version: str
    files: tuple[TableFile, ...]  # in the order in which they are read
    schema: pa.Schema
    ids: Mapping[int, str] = field(default_factory=dict[int, str])  # of fields in the files → what the table calls them
    in_files: tuple[str, ...] = ()  # columns that each file must have itself


def shaped_by_ids(schema: pa.Schema, table: TableVersion, shown: str) -> pa.Schema:
    """A file's columns without those that the table no longer has.

    Raises: DatasetError when the file has another name for a column, or its name for another column. Pure.
    """
    if missing := [name for name in table.in_files if name not in schema.names]:
        raise _refusal(shown, f"lacks the column {missing[0]!r}, whose values its table's metadata holds")
    kept = [column for column in schema if _id_of(column) in table.ids or _id_of(column) is None]
    for column in schema:
        if column not in kept and column.name in table.schema.names:
            raise _refusal(
                shown, f"has a column {column.name!r} that is none of the table's, which has another of that name"
            )
    for column in (inner for outer in kept for inner in _fields(outer)):
        known = table.ids.get(_id_of(column) or -1)
        if _id_of(column) is not None and known != column.name:
            told = "has no more" if known is None else f"calls {known!r}"
            raise _refusal(shown, f"has a column {column.name!r} that its table {told}")
    return pa.schema(kept)


def _id_of(column: pa.Field) -> int | None:
    found = (column.metadata or {}).get(b"PARQUET:field_id")
    return None if found is None else int(found)


def _fields(column: pa.Field) -> Iterator[pa.Field]:
    """A column, and the named fields inside it."""
    yield column
    yield from _inside(column.type)


def _inside(kind: pa.DataType) -> Iterator[pa.Field]:
    for place in range(kind.num_fields):
        inner = kind.field(place)
        if pa.types.is_struct(kind) and _id_of(inner) is not None:
            yield inner
        yield from _inside(inner.type)


def _refusal(shown: str, what: str) -> DatasetError:
    return DatasetError(
        f"{shown} {what}; such a file isn't read (input.url). Rewrite the table's data files (rewrite_data_files), so that "
        "they have its columns."
    )
