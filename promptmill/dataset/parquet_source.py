"""Parquet files as one dataset: their footers first, then their rows in blocks with the types of the whole input."""

from collections.abc import Collection, Iterator
from functools import partial
from itertools import groupby
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from promptmill.column_types import ARROW_ERRORS, cast_column
from promptmill.dataset.files import Files, InputFile, translated
from promptmill.dataset.int96 import has_int96, has_nanoseconds
from promptmill.dataset.parquet_file import Survey, corrupt, open_parquet, schema_of, survey
from promptmill.dataset.unifying import parquet_indices, refuse_unfitting, unify_files


class ParquetSource:
    """Parquet files."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self.notes: tuple[str, ...] = ()
        self.has_marks = False
        self._surveys: dict[InputFile, Survey] = {}
        self._int96_unit = "us"
        self._int96: list[InputFile] = []  # files with such times
        self._unified = unify_files(self._schemas())
        if any(self._has_nanoseconds(file) for file in self._int96):
            self._int96_unit = "ns"
            self._unified = unify_files(self._schemas())
        self.schema = self._unified.schema
        self._try_values()

    def _schemas(self) -> Iterator[tuple[InputFile, pa.Schema]]:
        for file in self._files.files:
            with self._open(file) as parquet:
                self._surveys[file] = survey(parquet, file.shown)
                self._int96 += [file] if has_int96(parquet) else []
                yield file, schema_of(file, parquet)

    def _has_nanoseconds(self, file: InputFile) -> bool:
        with translated(self._files.url, file), self._open(file) as coarse, self._open(file, "ns") as fine:
            return has_nanoseconds(coarse, fine)

    def _try_values(self) -> None:
        """Read the columns whose values may not fit their common type. Raises: DatasetError."""
        for file, names in self._unified.to_try().items():
            for name in names:
                with translated(self._files.url, file), self._open(file) as parquet:
                    groups = list(range(parquet.metadata.num_row_groups))
                    try:
                        for _ in self._read(file, parquet, groups, [name]):
                            pass
                    except ARROW_ERRORS as error:
                        raise refuse_unfitting(self._unified, file, name, error) from error

    def _open(self, file: InputFile, int96_unit: str | None = None) -> pq.ParquetFile:
        unit = self._int96_unit if int96_unit is None else int96_unit
        try:
            return open_parquet(self._bytes_of(file), file.shown, unit)
        except pa.ArrowException as error:
            raise corrupt(file, error) from error

    def _bytes_of(self, file: InputFile) -> IO[bytes]:
        return cast(IO[bytes], self._files.fs.open(file.path, "rb"))

    def require(self, columns: Collection[str]) -> None:
        """Raises: DatasetError when one of these columns can't be read within the bounds."""
        for found in self._surveys.values():
            found.require(columns)

    def of_files(self, columns: list[str], start: int) -> Iterator[tuple[InputFile, pa.Table]]:
        self.require(columns)
        skip = start
        for file in self._files.files:
            with translated(self._files.url, file), self._open(file) as parquet:
                groups: list[int] = []
                for group in range(parquet.metadata.num_row_groups):
                    rows = parquet.metadata.row_group(group).num_rows
                    if not groups and skip >= rows:
                        skip -= rows
                    else:
                        groups.append(group)
                for table in self._tables(file, parquet, groups, columns):
                    if skip < table.num_rows:
                        yield file, table.slice(skip)
                    skip = max(0, skip - table.num_rows)

    def _tables(
        self, file: InputFile, parquet: pq.ParquetFile, groups: list[int], columns: list[str]
    ) -> Iterator[pa.Table]:
        try:
            yield from self._read(file, parquet, groups, columns)
        except pa.ArrowException as error:
            raise corrupt(file, error) from error

    def _read(
        self, file: InputFile, parquet: pq.ParquetFile, groups: list[int], columns: list[str]
    ) -> Iterator[pa.Table]:
        """A file's rows with the types of the whole input; a column that the file lacks is null."""
        schema = pa.schema([self.schema.field(name) for name in columns])
        indices = parquet_indices(parquet.schema_arrow, columns)
        for batch in self._batches(file, parquet, groups, indices):
            table = pa.Table.from_batches([batch])
            arrays = [
                cast_column(table[column.name], column.type)
                if column.name in table.column_names
                else pa.nulls(table.num_rows, column.type)
                for column in schema
            ]
            yield pa.table(arrays, schema=schema)

    def _batches(
        self, file: InputFile, parquet: pq.ParquetFile, groups: list[int], indices: list[int]
    ) -> Iterator[pa.RecordBatch]:
        reader = cast(Any, parquet).reader  # ParquetFile itself takes names only
        reopen = partial(self._bytes_of, file)
        rows = {group: self._surveys[file].rows_at_once(parquet, reopen, group, indices) for group in groups}
        for count, alike in groupby(groups, rows.__getitem__):
            yield from reader.iter_batches(count, row_groups=list(alike), column_indices=indices, use_threads=False)
