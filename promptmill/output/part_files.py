"""Tables → Parquet parts, rolled by size: as many as there are rows for, in the folders of `output.partition_by`.

Rows come in small tables, one a chunk. We gather them into row groups of a size that readers like, and write a row group
as soon as it is full, so that memory holds one row group, however many rows there are.
A thread of its own compresses and writes row groups, in their order, and others bring finished parts to the storage, while
the caller makes the next rows. What waits for them is bounded too.
Of a thousand folders each would hold a row group and an upload of its own. So what all of them hold together is bounded:
then the folder with most rows writes a smaller row group, and the part that was written to least recently is completed.

Row groups: 100,000 rows or 16 MiB in memory. DuckDB's own are of 122,880 rows (DuckDB, "Parquet Tips", read 2026-11-24);
the bound in bytes keeps wide rows (an embedding is 6 KB) from filling the memory.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa

from promptmill.column_casts import cast_column
from promptmill.job.output_spec import FormatOptions
from promptmill.output.manifest import PartInfo
from promptmill.output.part_writer import PartWriter
from promptmill.output.partitioning import split_by_folder
from promptmill.output.work_behind import WorkBehind
from promptmill.storage import STORAGE_ERRORS, Storage
from promptmill.unpublished import UnpublishedFile

_MOST_PENDING_BYTES = 64 * 2**20  # of all folders; a single row group may be larger if the job says so
_MOST_WRITING_BYTES = 16 * 2**20  # of row groups; one alone may be larger
_MOST_FINISHING = 4  # parts
_MOST_OPEN = 32  # parts; an upload to S3 holds up to 8 MiB


@dataclass(frozen=True, slots=True)
class PartLayout:
    """How the rows of an output are spread over its parts."""

    prefix: str  # of a part's name
    part_bytes: int
    options: FormatOptions
    first_number: int = 0
    partition_by: Sequence[str] = ()

    @property
    def group_bytes(self) -> int:
        """About how many bytes of memory the rows of a row group take at most."""
        return min(self.options.row_group_bytes, self.part_bytes)


@dataclass(slots=True)
class _Pending:
    """Rows of a folder that wait for a row group."""

    tables: list[pa.Table] = field(default_factory=list[pa.Table])
    rows: int = 0
    bytes: int = 0

    def add(self, table: pa.Table) -> None:
        self.tables.append(table)
        self.rows += table.num_rows
        self.bytes += table.nbytes


class PartFiles:
    """Parts of one schema; when one is full, the next number follows. Not for several threads at once."""

    def __init__(self, storage: Storage, schema: pa.Schema, layout: PartLayout, folder: str = "") -> None:
        """`schema` is that of the rows; `folder` ends with a slash and holds all of these parts."""
        self.schema = schema
        self._file_schema = pa.schema([field for field in schema if field.name not in layout.partition_by])
        self._storage, self._layout, self._folder = storage, layout, folder
        self._pending: dict[str, _Pending] = {}
        self._open: OrderedDict[str, PartWriter] = OrderedDict()  # the one written to last comes last
        self._number = layout.first_number  # of the next part
        self._written: list[PartInfo] = []
        self.finished: list[UnpublishedFile] = []
        self._writing = WorkBehind(_MOST_WRITING_BYTES, name="parts")
        self._finishing = WorkBehind(_MOST_FINISHING, _MOST_FINISHING, name="finished parts")

    def append(self, carried: pa.Table, ours: pa.Table) -> None:
        """Take rows, whose columns are the carried ones and ours. Raises: any of STORAGE_ERRORS."""
        kinds = self.schema.types[: carried.num_columns]
        columns = [cast_column(column, kind) for column, kind in zip(carried.columns, kinds, strict=True)]
        table = pa.table([*columns, *ours.columns], schema=self.schema)
        for folder, rows in split_by_folder(table, self._layout.partition_by):
            for piece in _pieces(rows, self._layout):
                self._take(folder, piece)

    def close(self, at_least: int) -> tuple[PartInfo, ...]:
        """Complete all parts, and so many even without rows; what they are called. Raises: any of STORAGE_ERRORS."""
        for folder in sorted(self._pending):
            self._write_group(folder)
        self._writing.wait()
        if not self._open and len(self._written) < at_least:
            self._part_in("")
        for folder in sorted(self._open):
            self._finish(folder)
        self._finishing.wait()
        in_folders = bool(self._layout.partition_by)
        return tuple(sorted(self._written, key=lambda part: part.path) if in_folders else self._written)

    def discard(self) -> None:
        """Discard every unpublished part, without an error: the error that led here is the one to raise."""
        self._writing.stop()
        self._finishing.stop()
        parts, self._open = [*self._open.values()], OrderedDict()
        for part in parts:
            part.discard()
        for file in self.finished:
            with suppress(*STORAGE_ERRORS):
                file.discard()

    def _take(self, folder: str, piece: pa.Table) -> None:
        pending = self._pending.setdefault(folder, _Pending())
        room = self._layout.options.row_group_rows - pending.rows
        pending.add(piece.slice(0, room))
        if pending.rows >= self._layout.options.row_group_rows or pending.bytes >= self._layout.group_bytes:
            self._write_group(folder)
        elif len(self._pending) > 1 and sum(rows.bytes for rows in self._pending.values()) > _MOST_PENDING_BYTES:
            self._write_group(max(self._pending, key=lambda name: self._pending[name].bytes))
        if room < piece.num_rows:
            self._take(folder, piece.slice(room))

    def _write_group(self, folder: str) -> None:
        """Have the rows of a folder that wait written; the bytes of its part so far say which part they come to."""
        pending = self._pending.pop(folder)
        self._writing.do(partial(self._write, folder, pending.tables), pending.bytes)

    def _write(self, folder: str, tables: list[pa.Table]) -> None:
        part = self._part_in(folder)
        part.write(pa.concat_tables(tables))
        if part.bytes >= self._layout.part_bytes:
            self._finish(folder)

    def _part_in(self, folder: str) -> PartWriter:
        """The part of a folder that is being written."""
        if folder in self._open:
            self._open.move_to_end(folder)
            return self._open[folder]
        if len(self._open) >= _MOST_OPEN:
            self._finish(next(iter(self._open)))
        name = f"{self._folder}{folder}{self._layout.prefix}{self._number:05d}.parquet"
        self._number += 1
        self._open[folder] = PartWriter(self._storage, name, self._file_schema, self._layout.options.compression)
        return self._open[folder]

    def _finish(self, folder: str) -> None:
        """Complete the part of a folder that is being written, and have what is left of it uploaded."""
        part = self._open[folder]
        part.close()
        del self._open[folder]
        self.finished.append(part.file)
        self._written.append(PartInfo(part.name, part.rows, part.bytes))
        self._finishing.do(part.file.finish)


def _pieces(table: pa.Table, layout: PartLayout) -> Iterator[pa.Table]:
    """The table in slices of about the bytes of a row group, none with more rows than one."""
    row_bytes = max(1, table.nbytes // max(1, table.num_rows))
    step = max(1, min(layout.options.row_group_rows, layout.group_bytes // row_bytes))
    for start in range(0, table.num_rows, step):
        yield table.slice(start, step)
