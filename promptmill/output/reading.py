"""A finished output as pandas DataFrames: we read the parts that its manifest lists, not what lies in the folder.

So a reader never sees the parts of two runs, whatever a run publishes meanwhile. If a run replaces the listed parts after
we read the list, we read the new list.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from promptmill.cell_values import VALUE_ERRORS, rows_of
from promptmill.errors import OutputError
from promptmill.output.columns import failure_schema, names_in_manifest
from promptmill.output.manifest import MANIFEST, Manifest, PartInfo, read_manifest
from promptmill.output.partitioning import with_folder_columns
from promptmill.public_url import public_text, public_url
from promptmill.storage import STORAGE_ERRORS, Storage
from promptmill.suggest import did_you_mean

if TYPE_CHECKING:  # the command reads rows without it
    import pandas as pd


def read(url: str, columns: Sequence[str] | None = None) -> "pd.DataFrame":
    """The succeeded rows of an output, in input order, or folder by folder if the job partitions; all columns, or these.

    Raises: OutputError when the output isn't complete, can't be read, or lacks one of the columns.
    """
    storage = _open(url)
    return to_frame(_read_current(storage, _manifest_of(storage), columns, failures=False))


def read_failures(url: str, columns: Sequence[str] | None = None) -> "pd.DataFrame":
    """The failed rows of an output, in input order; all columns and no rows if none failed.

    Raises: OutputError when the output isn't complete, can't be read, or lacks one of the columns.
    """
    storage = _open(url)
    return to_frame(_read_current(storage, _manifest_of(storage), columns, failures=True))


def read_rows(url: str, *, failures: bool = False) -> list[dict[str, Any]]:
    """The succeeded or the failed rows of an output as mappings; a value that Python can't hold is an Unreadable.

    Raises: OutputError when the output isn't complete or can't be read.
    """
    storage = _open(url)
    return rows_of(_read_current(storage, _manifest_of(storage), None, failures=failures))


class PartTables:
    """The succeeded or the failed rows of an output, a table for each part, in the output's order.

    Raises: OutputError when the output isn't complete or can't be read.
    """

    def __init__(self, url: str, *, failures: bool = False) -> None:
        self._storage = _open(url)
        self._manifest = _manifest_of(self._storage)
        self._failures = failures
        self._parts = self._manifest.failure_parts if failures else self._manifest.parts
        self._first = self._read(self._parts[:1])
        self.columns: list[str] = self._first.column_names
        self.rows = sum(part.rows for part in self._parts)

    def __iter__(self) -> Iterator[pa.Table]:
        yield self._first
        for part in self._parts[1:]:
            yield self._read((part,))

    def _read(self, parts: tuple[PartInfo, ...]) -> pa.Table:
        name = "failure_parts" if self._failures else "parts"
        try:
            return _read_listed(self._storage, replace(self._manifest, **{name: parts}), None, failures=self._failures)
        except (pa.ArrowException, *STORAGE_ERRORS) as error:
            raise _unreadable(self._storage, error) from error


def to_frame(table: pa.Table) -> "pd.DataFrame":
    """A table as a frame, in which a column with values that Python can't hold stays in Arrow's types."""
    try:
        return table.to_pandas()
    except VALUE_ERRORS:
        import pandas as pd

        columns = [_to_series(table.select([place])) for place in range(table.num_columns)]
        return pd.concat(columns, axis=1)


def _to_series(table: pa.Table) -> "pd.DataFrame":
    import pandas as pd

    try:
        return table.to_pandas()
    except VALUE_ERRORS:
        return table.to_pandas(types_mapper=pd.ArrowDtype)


def _open(url: str) -> Storage:
    try:
        return Storage(url)
    except (ValueError, ImportError, *STORAGE_ERRORS) as error:
        raise OutputError(
            f"{public_url(url)!r} can't be opened: {public_text(str(error), url)}. Give an output's folder at a URL "
            "that fsspec knows."
        ) from error


def _manifest_of(storage: Storage) -> Manifest:
    manifest = read_manifest(storage)
    if manifest is None:
        raise OutputError(
            f"{storage.shown} has no {MANIFEST}: no run has finished there yet. A run writes it last, when every row is "
            "answered. Check the address, or run the job's command again: it goes on where it stopped."
        )
    return manifest


def _read_current(storage: Storage, manifest: Manifest, columns: Sequence[str] | None, *, failures: bool) -> pa.Table:
    """The rows of the listed parts. If a part is gone and there is a new list, the rows of the parts on that list."""
    try:
        return _read_listed(storage, manifest, columns, failures=failures)
    except FileNotFoundError as error:
        newer = _manifest_of(storage)
        if newer != manifest:
            return _read_current(storage, newer, columns, failures=failures)
        raise OutputError(
            f"{storage.shown} lacks a part that its {MANIFEST} lists ({storage.describe(error)}). An output is all of "
            "its parts. "
            "Run the job's command again: it writes them again and pays for nothing twice."
        ) from error
    except (pa.ArrowException, *STORAGE_ERRORS) as error:
        raise _unreadable(storage, error) from error


def _unreadable(storage: Storage, error: Exception) -> OutputError:
    return OutputError(
        f"the parts at {storage.shown} can't be read: {type(error).__name__}: {storage.describe(error)}. They are Parquet "
        "files as the run wrote them. Check access, or run the job's command again: it writes them again."
    )


def _read_listed(storage: Storage, manifest: Manifest, columns: Sequence[str] | None, *, failures: bool) -> pa.Table:
    parts = manifest.failure_parts if failures else manifest.parts
    if not parts:  # no row failed, so the other parts tell the columns
        carried = [column for column in manifest.partition_columns if column.is_carried]
        found = failure_schema(_schema(storage, manifest.parts[0]), names_in_manifest(manifest.job))
        empty = with_folder_columns(found.empty_table(), "", carried)
        return empty if columns is None else empty.select(known_columns(columns, empty.column_names, storage))
    folders = () if failures else manifest.partition_columns
    if not folders:
        return _read_files(storage, parts, columns)
    known = [*_schema(storage, parts[0]).names, *(column.name for column in folders)]
    wanted = known if columns is None else known_columns(columns, known, storage)
    kept = [column for column in folders if column.name in wanted]
    own = [name for name in wanted if name not in {column.name for column in folders}] or known[:1]
    tables = [with_folder_columns(_read_files(storage, [part], own), part.path, kept) for part in parts]
    return pa.concat_tables(tables).select(wanted)


def _read_files(storage: Storage, parts: Sequence[PartInfo], columns: Sequence[str] | None) -> pa.Table:
    names = None if columns is None else known_columns(columns, _schema(storage, parts[0]).names, storage)
    paths = [storage.path(part.path) for part in parts]
    # else pyarrow takes a folder named day=2026-11-24 for a column
    no_partitioning: Any = None
    return pq.read_table(paths, columns=names, filesystem=storage.fs, partitioning=no_partitioning)


def _schema(storage: Storage, part: PartInfo) -> pa.Schema:
    with storage.fs.open(storage.path(part.path), "rb") as file:
        return pq.read_schema(file)


def known_columns(columns: Sequence[str], known: Sequence[str], storage: Storage) -> list[str]:
    """The columns as they are. Raises: OutputError for one that the output doesn't have."""
    for name in columns:
        if name not in known:
            raise OutputError(
                f"{storage.shown} has no column {name!r}; it has {len(known)}. {did_you_mean(name, known)} "
                "Leave `columns` out to read them all."
            )
    return list(columns)
