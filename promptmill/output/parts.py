"""The output's Parquet parts: rolled by size, uploaded whole, made visible together.

Rows come in small tables, one a chunk. We gather them into row groups of a size that readers like, and write a row group
as soon as it is full, so that memory holds one row group, however many rows there are.
A part's name has the job's digest and a number that no part of the output already there has, so that readers of that output
go on reading whole files.

Row groups: 100,000 rows or 16 MiB in memory. DuckDB's own are of 122,880 rows (DuckDB, "Parquet Tips", read 2026-11-24);
the bound in bytes keeps wide rows (an embedding is 6 KB) from filling the memory.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from promptmill.arrow import pc
from promptmill.column_types import carried_type, cast_column, filter_rows
from promptmill.output.columns import FAILURE_COLUMNS, SUCCESS_COLUMNS, failure_columns, success_columns
from promptmill.output.manifest import PART_NAME, Manifest, PartInfo
from promptmill.output.publishing import FAILURES
from promptmill.storage import STORAGE_ERRORS, Storage
from promptmill.unpublished import UnpublishedFile

_ROW_GROUP_BYTES = 16 * 2**20  # in memory
_ROW_GROUP_ROWS = 100_000
_COMPRESSION = "zstd"
_LAST_FIRST_NUMBER = 50_000  # above it, a run numbers from 0 again: names of five digits sort as their numbers do


class OutputWriter:
    """Answered rows → parts that nobody sees yet. Use it in a `with` block, which discards at its end what isn't published.

    Not for several threads at once.
    """

    def __init__(
        self,
        storage: Storage,
        job_digest: str,
        success_schema: pa.Schema,
        failure_schema: pa.Schema,
        part_bytes: int,
        first_number: int = 0,
        properties: Sequence[str] | None = None,
    ) -> None:
        """`properties` are the keys of the answers' typed columns; by default they are called as the columns are."""
        name = f"part-{job_digest}-"
        self._carried: list[str] = failure_schema.names[: -len(FAILURE_COLUMNS)]
        typed = success_schema.names[len(self._carried) + 1 : -len(SUCCESS_COLUMNS)]
        self._properties = typed if properties is None else properties
        self._successes = _Parts(storage, name, success_schema, part_bytes, first_number)
        self._failures = _Parts(storage, f"{FAILURES}/{name}", failure_schema, part_bytes, first_number)

    def add(self, rows: pa.Table, answers: pa.Table) -> None:
        """Append rows with their answers: tables of equal length and order, every row answered.

        `rows` has the carried columns, `row_index` among them if the output has it; `add` ignores others.
        Raises: any of STORAGE_ERRORS; ValueError when the tables don't fit each other or the schema.
        """
        if rows.num_rows != answers.num_rows:
            raise ValueError(f"{answers.num_rows} answers came for {rows.num_rows} rows")
        carried = rows.select(self._carried)
        succeeded = pc.is_null(answers["kind"])
        if not pc.all(succeeded, min_count=0).as_py():
            failed = pc.invert(succeeded)
            self._failures.append(
                filter_rows(carried, failed), failure_columns(answers.filter(failed), self._ours(self._failures))
            )
            carried, answers = filter_rows(carried, succeeded), answers.filter(succeeded)
        self._successes.append(carried, success_columns(answers, self._ours(self._successes), self._properties))

    def _ours(self, parts: "_Parts") -> list[pa.Field]:
        """The fields that don't come from the input."""
        return list(parts.schema)[len(self._carried) :]

    def close(self) -> tuple[tuple[PartInfo, ...], tuple[PartInfo, ...]]:
        """Upload what is left; returns the parts and the failure parts. The caller then publishes `files`.

        There is always a part, even an empty one, so that the output can be read as a dataset and shows its columns.
        There is no failure part without a failure. Raises: any of STORAGE_ERRORS.
        """
        return self._successes.close(at_least=1), self._failures.close(at_least=0)

    @property
    def files(self) -> list[UnpublishedFile]:
        """The uploaded parts, in the order in which they were begun."""
        return [*self._successes.finished, *self._failures.finished]

    def __enter__(self) -> "OutputWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._successes.discard()
        self._failures.discard()


@dataclass(slots=True)
class _Part:
    """A part being written."""

    name: str
    file: UnpublishedFile
    writer: pq.ParquetWriter
    rows: int = 0


class _Parts:
    """Parts of one schema; when one is full, the next number follows."""

    def __init__(self, storage: Storage, prefix: str, schema: pa.Schema, part_bytes: int, first_number: int) -> None:
        self.schema = schema
        self._storage, self._prefix, self._part_bytes = storage, prefix, part_bytes
        self._group_bytes = min(_ROW_GROUP_BYTES, part_bytes)
        self._pending: list[pa.Table] = []
        self._pending_rows = self._pending_bytes = 0
        self._part: _Part | None = None
        self._number = first_number  # of the next part
        self._written: list[PartInfo] = []
        self.finished: list[UnpublishedFile] = []

    def append(self, carried: pa.Table, ours: pa.Table) -> None:
        kinds = self.schema.types[: carried.num_columns]
        columns = [cast_column(column, kind) for column, kind in zip(carried.columns, kinds, strict=True)]
        table = pa.table([*columns, *ours.columns], schema=self.schema)
        for piece in _pieces(table, self._group_bytes):
            self._pending.append(piece)
            self._pending_rows += piece.num_rows
            self._pending_bytes += piece.nbytes
            if self._pending_rows >= _ROW_GROUP_ROWS or self._pending_bytes >= self._group_bytes:
                self._write_group()

    def close(self, at_least: int) -> tuple[PartInfo, ...]:
        if self._pending or (self._part is None and len(self._written) < at_least):
            self._write_group()
        self._finish()
        return tuple(self._written)

    def discard(self) -> None:
        """Discard every unpublished part, without an error: the error that led here is the one to raise."""
        part, self._part = self._part, None
        for file in [*self.finished, *([part.file] if part is not None else [])]:
            with suppress(*STORAGE_ERRORS):
                file.discard()

    def _write_group(self) -> None:
        part = self._part or self._begin()
        if self._pending:
            table = pa.concat_tables(self._pending)
            part.writer.write_table(table, row_group_size=table.num_rows)
            part.rows += table.num_rows
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0
        if part.file.stream.tell() >= self._part_bytes:
            self._finish()

    def _begin(self) -> _Part:
        name = f"{self._prefix}{self._number:05d}.parquet"
        self._number += 1
        file = self._storage.open_unpublished(name)
        self._part = _Part(name, file, pq.ParquetWriter(file.stream, self.schema, compression=_COMPRESSION))
        return self._part

    def _finish(self) -> None:
        """Complete the part being written, and upload it."""
        part = self._part
        if part is None:
            return
        part.writer.close()
        size = part.file.stream.tell()
        part.file.finish()
        self._part = None
        self.finished.append(part.file)
        self._written.append(PartInfo(part.name, part.rows, size))


def _pieces(table: pa.Table, piece_bytes: int) -> Iterator[pa.Table]:
    """The table in slices of about `piece_bytes`, none with more rows than a row group."""
    row_bytes = max(1, table.nbytes // max(1, table.num_rows))
    step = max(1, min(_ROW_GROUP_ROWS, piece_bytes // row_bytes))
    for start in range(0, table.num_rows, step):
        yield table.slice(start, step)


def next_part_number(standing: Manifest | None, job_digest: str) -> int:
    """A first number with which no new part overwrites one of the output that is there."""
    parts = (*standing.parts, *standing.failure_parts) if standing is not None else ()
    found = [PART_NAME.fullmatch(part.path.removeprefix(f"{FAILURES}/")) for part in parts]
    numbers = [int(match[2]) for match in found if match is not None and match[1] == job_digest]
    return max(numbers) + 1 if numbers and min(numbers) < _LAST_FIRST_NUMBER else 0


def unwritable_columns(schema: pa.Schema, carried: Sequence[str]) -> list[str]:
    """Carried columns of a type that Parquet can't hold, with that type, such as a column of empty objects from JSON."""
    fields = [schema.field(name) for name in carried]
    return [f"{column.name!r} ({column.type})" for column in fields if carried_type(column.type) is None]
