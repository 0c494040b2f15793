"""The rows of an input: Parquet, CSV or JSONL at any URL, read in order, in bounded memory, and as often as needed.

A run reads its input three times (to plan, to send, to publish) and holds the rows of a few chunks at a time.
"""

import sys
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from hashlib import blake2b
from itertools import repeat
from typing import Protocol

import orjson
import pyarrow as pa

from promptmill.dataset.database_url import asked_rows
from promptmill.dataset.drawn_rows import DrawnRows
from promptmill.dataset.duckdb_file import read_duckdb
from promptmill.dataset.files import Files, InputFile, translated
from promptmill.dataset.parquet_source import ParquetSource
from promptmill.dataset.partitions import PartitionedSource
from promptmill.dataset.postgres import read_postgres
from promptmill.dataset.shapes import refuse_large_chunk
from promptmill.dataset.text_source import TextSource
from promptmill.dataset.unreadable import UNREADABLE
from promptmill.errors import DatasetError
from promptmill.job.input_spec import Input
from promptmill.places import shown_places
from promptmill.suggest import did_you_mean

_PIECE_BYTES = 1 << 24
ChunkRows = int | Iterable[int]  # of each chunk; reading ends after the last


class Source(Protocol):
    """Something that has rows and gives them in blocks of any size, in order."""

    schema: pa.Schema
    notes: tuple[str, ...]  # how its files are read, for people
    has_marks: bool  # its blocks can have the column UNREADABLE
    rows: int  # as footers or a first pass count them

    def blocks(self, columns: list[str], start: int, tries: Collection[str] = ()) -> Iterator[pa.Table]:
        """The rows from number `start` on, with only these columns. It also decodes the columns `tries` of these rows."""
        ...


class Dataset:
    """The rows of an input."""

    def __init__(
        self,
        source: Source,
        spec: Input,
        files: tuple[InputFile, ...],
        fingerprint: str,
        is_held: bool,  # in a frame or a copy, so that nobody changes the rows while a run reads them
        versions: Mapping[str, str] | None = None,
    ) -> None:
        self.files = files
        self.schema = source.schema
        self.notes = source.notes
        self.fingerprint = fingerprint  # equal fingerprints: the same rows
        self.is_held = is_held
        self.versions: Mapping[str, str] = {} if versions is None else versions  # of tables, by their public URL
        self.drawn: Sequence[int] = ()  # numbers of the rows that it is made of, if it isn't the whole input
        self._source = source
        self._limit = spec.limit
        self.carried: tuple[str, ...] = tuple(spec.columns if spec.columns is not None else self.schema.names)
        if UNREADABLE in self.schema.names:
            raise DatasetError(
                f"{shown_places(spec.urls)} has a column {UNREADABLE!r}, a name that we use ourselves. Rename it (input.url)."
            )
        for name in (*self.carried, *([spec.id_column] if spec.id_column else []), *(spec.types or ())):
            if name not in self.schema.names:
                raise DatasetError(
                    f"{shown_places(spec.urls)} has no column {name!r}; it has {', '.join(self.schema.names)} (input.columns, "
                    f"input.id_column, input.types). {did_you_mean(name, self.schema.names)}"
                )

    @property
    def rows(self) -> int:
        """How many rows it has, if nobody changes it."""
        return self._source.rows if self._limit is None else min(self._limit, self._source.rows)

    def only(self, numbers: Sequence[int]) -> "Dataset":
        """The same dataset with no rows but those with these sorted numbers."""
        drawn = copy(self)
        drawn.drawn, drawn._source = numbers, DrawnRows(self._source, numbers)
        return drawn

    def read(
        self,
        chunk_rows: ChunkRows,
        columns: Collection[str] | None = None,
        start: int = 0,
        stop: int | None = None,
        tries: Collection[str] = (),
    ) -> Iterator[pa.Table]:
        """The rows `start` to `stop` in chunks, in input order, each but the last with exactly its number of rows.

        The columns are those asked for, in the schema's order; when none is asked for, the first column. If
        UNREADABLE is asked for and the dataset may have rows that can't be read, that column comes last. The columns
        `tries` are decoded along the way and not given, so that damage in them is found.
        Raises: DatasetError.
        """
        held: list[pa.Table] = []
        sizes = _sizes(chunk_rows)
        pieces = self.pieces(_noting(sizes, noted := deque[int]()), columns, start, stop, tries)
        for piece in pieces:
            held.append(piece)
            refuse_large_chunk(held, noted[0])
            if sum(part.num_rows for part in held) == noted[0]:
                yield _joined(held)
                held = []
                noted.popleft()
        if held:
            yield _joined(held)

    def pieces(
        self,
        chunk_rows: ChunkRows,
        columns: Collection[str] | None = None,
        start: int = 0,
        stop: int | None = None,
        tries: Collection[str] = (),
    ) -> Iterator[pa.Table]:
        """What `read` gives, but a chunk of large rows comes in several tables, each of which fits in memory."""
        names = [name for name in self.schema.names if columns is None or name in columns] or self.schema.names[:1]
        names = [*names, UNREADABLE] if self._source.has_marks and UNREADABLE in (columns or ()) else names
        ends = [end for end in (stop, self._limit) if end is not None]
        left = min(ends) - start if ends else sys.maxsize
        held: list[pa.Table] = []
        sizes, size = _sizes(chunk_rows), 0
        room = next(sizes, 0)
        for block in self._source.blocks(names, start, [name for name in tries if name not in names]) if room else ():
            part = block.slice(0, max(0, left))
            left -= part.num_rows
            while part.num_rows and room:
                held.append(part.slice(0, room))
                part = part.slice(room)
                room -= held[-1].num_rows
                size += held[-1].nbytes
                if not room or size > _PIECE_BYTES:
                    yield _joined(held)
                    held, size = [], 0
                    room = room or next(sizes, 0)
            if left <= 0 or not room:
                break
        if held:
            yield _joined(held)


def _sizes(chunk_rows: ChunkRows) -> Iterator[int]:
    return repeat(chunk_rows) if isinstance(chunk_rows, int) else iter(chunk_rows)


def _noting(sizes: Iterator[int], noted: deque[int]) -> Iterator[int]:
    """The same sizes; `noted` has those that were taken."""
    for size in sizes:
        noted.append(size)
        yield size


def _joined(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables).combine_chunks()


@dataclass(frozen=True, slots=True)
class Listed:
    """An input whose files are listed; none of them is opened yet."""

    spec: Input
    found: Files

    @property
    def files(self) -> Sequence[InputFile]:
        """The files, in the order in which they are read."""
        return self.found.files

    @property
    def versions(self) -> Mapping[str, str]:
        """The versions at which tables are read, by their public URL."""
        return self.found.versions

    @property
    def fingerprint(self) -> str:
        """A digest of the files' names, sizes and versions."""
        files = ([file.path, file.bytes, file.version, *([file.sheet] if file.sheet else [])] for file in self.files)
        identity = [self.spec.limit, self.found.format, *files, *([self.versions] if self.versions else [])]
        return blake2b(orjson.dumps(identity), digest_size=16).hexdigest()

    def open(self) -> Dataset:
        """The dataset. Raises: DatasetError when it can't be used."""
        spec, files = self.spec, self.found
        with translated(spec.urls):
            found = ParquetSource(files) if files.format == "parquet" else TextSource(files, spec)
            source = PartitionedSource(found, files, spec.types or {})
            if not source.schema.names or next(source.blocks(source.schema.names[:1], 0), None) is None:
                raise DatasetError(
                    f"{shown_places(spec.urls)} has 0 rows; at least 1 is needed (input.url). Give a dataset with rows."
                )
        if isinstance(found, ParquetSource):
            found.require(found.schema.names if spec.columns is None else spec.columns)
        return Dataset(source, spec, files.files, self.fingerprint, is_held=False, versions=self.versions)


def list_input(spec: Input, output: str | None = None, pinned: Mapping[str, str] | None = None) -> Listed | Dataset:
    """The files at the URLs of `input.url`, without those in the folder `output`; of a database, its rows.

    `pinned`: versions at which tables are read, by their public URL. Raises: DatasetError when there are none.
    """
    asked = asked_rows(spec)
    if asked is None:
        return Listed(spec, Files(spec, output, pinned))
    rows = read_duckdb(asked) if asked.url.startswith("duckdb:") else read_postgres(asked)
    return Dataset(rows, spec, (), rows.digest, is_held=True)


def open_dataset(spec: Input, output: str | None = None) -> Dataset:
    """The dataset at `input.url`, without what is in the folder `output`. Raises: DatasetError when it can't be used."""
    found = list_input(spec, output)
    return found if isinstance(found, Dataset) else found.open()


def fingerprint_of(spec: Input, output: str | None = None, pinned: Mapping[str, str] | None = None) -> str:
    """The fingerprint that the input has now; its rows aren't read. Raises: DatasetError."""
    return list_input(spec, output, pinned).fingerprint
