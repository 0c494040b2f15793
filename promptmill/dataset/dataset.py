"""The rows of an input: Parquet, CSV or JSONL at any URL, read in order, in bounded memory, and as often as needed.

A run reads its input three times (to plan, to send, to publish) and holds the rows of a few chunks at a time.
"""

import sys
from collections.abc import Collection, Iterator
from hashlib import blake2b
from typing import Protocol

import orjson
import pyarrow as pa

from promptmill.dataset.csv_reader import CsvReader
from promptmill.dataset.files import Files, InputFile, translated
from promptmill.dataset.jsonl import JsonlReader
from promptmill.dataset.parquet_source import ParquetSource
from promptmill.dataset.partitions import PartitionedSource
from promptmill.dataset.shapes import refuse_large_chunk
from promptmill.dataset.unreadable import UNREADABLE
from promptmill.errors import DatasetError
from promptmill.job.input_spec import Csv, Input
from promptmill.places import shown_place
from promptmill.suggest import did_you_mean

_PIECE_BYTES = 1 << 25


class Source(Protocol):
    """Something that has rows and gives them in blocks of any size, in order."""

    schema: pa.Schema
    notes: tuple[str, ...]  # how its files are read, for people
    has_marks: bool  # its blocks can have the column UNREADABLE

    def blocks(self, columns: list[str], start: int) -> Iterator[pa.Table]:
        """The rows from number `start` on, with only these columns."""
        ...


class Dataset:
    """The rows of an input."""

    def __init__(
        self,
        source: Source,
        spec: Input,
        files: tuple[InputFile, ...],
        fingerprint: str,
        is_frame: bool,
    ) -> None:
        self.files = files
        self.schema = source.schema
        self.notes = source.notes
        self.fingerprint = fingerprint  # equal fingerprints: the same rows
        self.is_frame = is_frame
        self._source = source
        self._limit = spec.limit
        self.carried: tuple[str, ...] = tuple(spec.columns if spec.columns is not None else self.schema.names)
        if UNREADABLE in self.schema.names:
            raise DatasetError(
                f"{shown_place(spec.url)} has a column {UNREADABLE!r}, a name that we use ourselves. Rename it (input.url)."
            )
        for name in (*self.carried, *([spec.id_column] if spec.id_column else []), *(spec.types or ())):
            if name not in self.schema.names:
                raise DatasetError(
                    f"{shown_place(spec.url)} has no column {name!r}; it has {', '.join(self.schema.names)} (input.columns, "
                    f"input.id_column, input.types). {did_you_mean(name, self.schema.names)}"
                )

    def read(
        self,
        chunk_rows: int,
        columns: Collection[str] | None = None,
        start: int = 0,
        stop: int | None = None,
    ) -> Iterator[pa.Table]:
        """The rows `start` to `stop` in chunks, in input order; each but the last has exactly `chunk_rows` rows.

        The columns are those asked for, in the schema's order; when none is asked for, the first column. If
        UNREADABLE is asked for and the dataset may have rows that can't be read, that column comes last.
        Raises: DatasetError.
        """
        held: list[pa.Table] = []
        for piece in self.pieces(chunk_rows, columns, start, stop):
            held.append(piece)
            refuse_large_chunk(held, chunk_rows)
            if sum(part.num_rows for part in held) == chunk_rows:
                yield _joined(held)
                held = []
        if held:
            yield _joined(held)

    def pieces(
        self,
        chunk_rows: int,
        columns: Collection[str] | None = None,
        start: int = 0,
        stop: int | None = None,
    ) -> Iterator[pa.Table]:
        """What `read` gives, but a chunk of large rows comes in several tables, each of which fits in memory."""
        names = [name for name in self.schema.names if columns is None or name in columns] or self.schema.names[:1]
        names = [*names, UNREADABLE] if self._source.has_marks and UNREADABLE in (columns or ()) else names
        ends = [end for end in (stop, self._limit) if end is not None]
        left = min(ends) - start if ends else sys.maxsize
        held: list[pa.Table] = []
        room, size = chunk_rows, 0
        for block in self._source.blocks(names, start):
            part = block.slice(0, max(0, left))
            left -= part.num_rows
            while part.num_rows:
                held.append(part.slice(0, room))
                part = part.slice(room)
                room -= held[-1].num_rows
                size += held[-1].nbytes
                if not room or size > _PIECE_BYTES:
                    yield _joined(held)
                    held, size = [], 0
                    room = room or chunk_rows
            if left <= 0:
                break
        if held:
            yield _joined(held)


def _joined(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables).combine_chunks()


def open_dataset(spec: Input, output: str | None = None) -> Dataset:
    """The dataset at `input.url`, without what is in the folder `output`. Raises: DatasetError when it can't be used."""
    files = Files(spec, output)
    with translated(spec.url):
        found = ParquetSource(files) if files.format == "parquet" else _TextSource(files, spec)
        source = PartitionedSource(found, files, spec.types or {})
        if not source.schema.names or next(source.blocks(source.schema.names[:1], 0), None) is None:
            raise DatasetError(
                f"{shown_place(spec.url)} has 0 rows; at least 1 is needed (input.url). Give a dataset with rows."
            )
    if isinstance(found, ParquetSource):
        found.require(found.schema.names if spec.columns is None else spec.columns)
    return Dataset(source=source, spec=spec, files=files.files, fingerprint=_fingerprint(files, spec), is_frame=False)


def fingerprint_of(spec: Input, output: str | None = None) -> str:
    """The fingerprint that the input has now; its rows aren't read. Raises: DatasetError."""
    return _fingerprint(Files(spec, output), spec)


def _fingerprint(files: Files, spec: Input) -> str:
    identity = [spec.limit, files.format, *([file.path, file.bytes, file.version] for file in files.files)]
    return blake2b(orjson.dumps(identity), digest_size=16).hexdigest()


class _TextSource:
    def __init__(self, files: Files, spec: Input) -> None:
        self._files = files
        types, skips = spec.types or {}, spec.on_bad_row == "skip"
        is_csv = files.format == "csv"
        self._reader = (
            CsvReader(files, spec.csv or Csv.model_validate({}), types, skips)
            if is_csv
            else JsonlReader(files, types, skips)
        )
        self.has_marks = self._reader.has_marks
        self.notes = self._reader.notes
        self.schema = self._reader.schema

    def of_files(self, columns: list[str], start: int) -> Iterator[tuple[InputFile, pa.Table]]:
        skip = start
        for file in self._files.files:
            with translated(self._files.url, file):
                for batch in self._reader.blocks(file):
                    if skip >= batch.num_rows:
                        skip -= batch.num_rows
                        continue
                    yield file, pa.Table.from_batches([batch]).select(columns).slice(skip)
                    skip = 0
