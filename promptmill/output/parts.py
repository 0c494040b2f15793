"""The output's Parquet parts: rolled by size, published whole, removed once no manifest lists them.

Rows come in small tables, one a chunk. They are gathered into row groups of a size that readers like, and a row group is
written as soon as it is full, so that memory holds one of them whatever the number of rows.
A part's name has the job's digest and a number that no part of the standing output has, so that whoever reads that output
goes on reading whole files. Nothing without such a name is ever removed.

Row groups: 100,000 rows or 16 MiB in memory. DuckDB's own are of 122,880 rows (DuckDB, "Parquet Tips", read 2026-11-24);
the bytes keep wide rows, an embedding is 6 KB, from filling the memory.
"""

import io
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import IO, cast

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.spec import AbstractBufferedFile

from promptmill.arrow import pc
from promptmill.output.columns import FAILURE_COLUMNS, failure_columns, success_columns
from promptmill.output.manifest import Manifest, PartInfo
from promptmill.storage import STORAGE_ERRORS, Storage

FAILURES = "_failures"
ROW_GROUP_BYTES = 16 * 2**20  # in memory
ROW_GROUP_ROWS = 100_000
COMPRESSION = "zstd"
PART_NAME = re.compile(r"part-([0-9a-f]{8})-(\d{5,})\.parquet")
LAST_FIRST_NUMBER = 50_000  # numbering starts again after it: names of five digits sort as their numbers do


class OutputWriter:
    """Answered rows → parts. Use it in a `with` block: one that raises takes back what it published.

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
    ) -> None:
        name = f"part-{job_digest}-"
        self._carried: list[str] = failure_schema.names[: -len(FAILURE_COLUMNS)]
        self._successes = _Parts(storage, name, success_schema, part_bytes, first_number)
        self._failures = _Parts(storage, f"{FAILURES}/{name}", failure_schema, part_bytes, first_number)

    def add(self, rows: pa.Table, answers: pa.Table) -> None:
        """Append rows with their answers: tables of equal length and order, every row answered.

        `rows` has the carried columns, `row_index` among them where the output has it; others are passed over.
        Raises: any of STORAGE_ERRORS; ValueError when the tables don't fit each other or the schema.
        """
        if rows.num_rows != answers.num_rows:
            raise ValueError(f"{answers.num_rows} answers came for {rows.num_rows} rows")
        carried = rows.select(self._carried)
        succeeded = pc.is_null(answers["kind"])
        if not pc.all(succeeded, min_count=0).as_py():
            failed = pc.invert(succeeded)
            self._failures.append(carried.filter(failed), failure_columns(answers.filter(failed)))
            carried, answers = carried.filter(succeeded), answers.filter(succeeded)
        fields = list(self._successes.schema)[len(self._carried) :]
        self._successes.append(carried, success_columns(answers, fields))

    def close(self) -> tuple[tuple[PartInfo, ...], tuple[PartInfo, ...]]:
        """Publish what is left; returns the parts and the failure parts.

        There is always one part, be it empty, so that the output can be read as a dataset and shows its columns; there
        is no failure part without a failure. Raises: any of STORAGE_ERRORS.
        """
        return self._successes.close(at_least=1), self._failures.close(at_least=0)

    def __enter__(self) -> "OutputWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        self._successes.take_back(error)
        self._failures.take_back(error)


@dataclass(slots=True)
class _Part:
    """A part being written."""

    name: str
    file: IO[bytes]
    writer: pq.ParquetWriter
    rows: int = 0
    bytes: int = 0  # once it is whole


class _Parts:
    """Parts of one schema, numbered on as they fill."""

    def __init__(self, storage: Storage, prefix: str, schema: pa.Schema, part_bytes: int, first_number: int) -> None:
        self.schema = schema
        self._storage, self._prefix, self._part_bytes = storage, prefix, part_bytes
        self._group_bytes = min(ROW_GROUP_BYTES, part_bytes)
        self._pending: list[pa.Table] = []
        self._pending_rows = self._pending_bytes = 0
        self._part: _Part | None = None
        self._open = ExitStack()  # holds the part being written
        self._number = first_number  # of the next part
        self._begun: list[str] = []
        self._published: list[PartInfo] = []

    def append(self, carried: pa.Table, ours: pa.Table) -> None:
        expected = pa.schema(list(self.schema)[: carried.num_columns])
        table = pa.table([*carried.cast(expected).columns, *ours.columns], schema=self.schema)
        for piece in _pieces(table, self._group_bytes):
            self._pending.append(piece)
            self._pending_rows += piece.num_rows
            self._pending_bytes += piece.nbytes
            if self._pending_rows >= ROW_GROUP_ROWS or self._pending_bytes >= self._group_bytes:
                self._write_group()

    def close(self, at_least: int) -> tuple[PartInfo, ...]:
        if self._pending or (self._part is None and len(self._published) < at_least):
            self._write_group()
        self._publish()
        return tuple(self._published)

    def take_back(self, error: BaseException) -> None:
        """Discard the part being written and remove those published, which no manifest lists."""
        with suppress(*STORAGE_ERRORS):  # the error that led here is the one to tell
            self._open.__exit__(type(error), error, error.__traceback__)
            self._storage.delete(self._begun)

    def _write_group(self) -> None:
        part = self._part or self._begin()
        if self._pending:
            table = pa.concat_tables(self._pending)
            part.writer.write_table(table, row_group_size=table.num_rows)
            part.rows += table.num_rows
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0
        if part.file.tell() >= self._part_bytes:
            self._publish()

    def _begin(self) -> _Part:
        name = f"{self._prefix}{self._number:05d}.parquet"
        self._number += 1
        self._begun.append(name)
        self._part = self._open.enter_context(_writing(self._storage, name, self.schema))
        return self._part

    def _publish(self) -> None:
        if self._part is None:
            return
        part, self._part = self._part, None
        self._open.close()
        self._published.append(PartInfo(part.name, part.rows, part.bytes))


@contextmanager
def _writing(storage: Storage, name: str, schema: pa.Schema) -> Generator[_Part]:
    """A part to write row groups into; published when the block ends well, discarded when it raises."""
    with storage.writer(name) as file:
        try:
            with pq.ParquetWriter(file, schema, compression=COMPRESSION) as writer:
                part = _Part(name, file, writer)
                yield part
            part.bytes = file.tell()
        except BaseException:
            if isinstance(file, AbstractBufferedFile):
                file.forced = True  # else s3fs begins another upload when the discarded file is collected
            raise


def _pieces(table: pa.Table, piece_bytes: int) -> Iterator[pa.Table]:
    """The table in slices of about so many bytes, and of no more rows than a row group has."""
    row_bytes = max(1, table.nbytes // max(1, table.num_rows))
    step = max(1, min(ROW_GROUP_ROWS, piece_bytes // row_bytes))
    for start in range(0, table.num_rows, step):
        yield table.slice(start, step)


def next_part_number(standing: Manifest | None, job_digest: str) -> int:
    """A first number whose parts overwrite none of the standing output's.

    Raises nothing: names of another digest, or none, can't be overwritten.
    """
    parts = (*standing.parts, *standing.failure_parts) if standing is not None else ()
    found = [PART_NAME.fullmatch(part.path.removeprefix(f"{FAILURES}/")) for part in parts]
    numbers = [int(match[2]) for match in found if match is not None and match[1] == job_digest]
    return max(numbers) + 1 if numbers and min(numbers) < LAST_FIRST_NUMBER else 0


def remove_stale(storage: Storage, manifest: Manifest) -> None:
    """Remove parts and failure parts that the manifest doesn't list, and nothing else. Raises: any of STORAGE_ERRORS."""
    listed = {part.path for part in (*manifest.parts, *manifest.failure_parts)}
    storage.delete(name for name in [*_part_names(storage, ""), *_part_names(storage, FAILURES)] if name not in listed)


def _part_names(storage: Storage, folder: str) -> list[str]:
    """Parts that lie right in a folder; the checkpoints below it, which may be many, aren't listed."""
    try:
        paths = cast(list[str], storage.fs.ls(storage.path(folder), detail=False))
    except FileNotFoundError:
        return []
    names = [path.rsplit("/", 1)[-1] for path in paths]
    return [f"{folder}/{name}" if folder else name for name in names if PART_NAME.fullmatch(name)]


def unwritable_columns(schema: pa.Schema, carried: Sequence[str]) -> list[str]:
    """Carried columns of a type that Parquet can't hold, with that type: `{}` in every row of a JSONL file is one."""
    found: list[str] = []
    for name in carried:
        one = pa.schema([schema.field(name)])
        try:
            pq.write_table(one.empty_table(), io.BytesIO())
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
            found.append(f"{name} ({schema.field(name).type})")
    return found
