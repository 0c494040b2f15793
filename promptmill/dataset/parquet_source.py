"""Parquet files as one dataset: their footers first, then their rows in blocks with the types of the whole input."""

from collections.abc import Collection, Iterator
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

from promptmill.column_casts import cast_column
from promptmill.column_types import ARROW_ERRORS, leaves_of
from promptmill.dataset.content import START_BYTES, refuse_other_content
from promptmill.dataset.files import Files, InputFile, translated
from promptmill.dataset.int96 import has_int96, has_nanoseconds
from promptmill.dataset.parquet_file import Survey, corrupt, open_parquet, schema_of, survey
from promptmill.dataset.repeated_texts import RepeatedTexts, is_one_batch, stays_coded
from promptmill.dataset.unifying import parquet_indices, refuse_unfitting, unify_files

_TEXTS = (pa.string(), pa.binary())


class ParquetSource:
    """Parquet files."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self.notes: tuple[str, ...] = ()
        self.has_marks = False
        self._surveys: dict[InputFile, Survey] = {}
        self._texts: dict[InputFile, RepeatedTexts] = {}
        self._int96_unit = "us"
        self._int96: list[InputFile] = []  # files with such times
        self._unified = unify_files(self._schemas())
        self.rows = sum(found.rows for found in self._surveys.values())
        if any(self._has_nanoseconds(file) for file in self._int96):
            self._int96_unit = "ns"
            self._unified = unify_files(self._schemas())
        self.schema = self._unified.schema
        self._try_values()

    def _schemas(self) -> Iterator[tuple[InputFile, pa.Schema]]:
        last: pa.Schema | None = None
        for file, (schema, found, is_int96) in self._files.side_by_side(self._facts):
            self._surveys[file] = found
            self._int96 += [file] if is_int96 else []
            last = last if last is not None and last.equals(schema) else schema  # thousands of files share one
            yield file, last

    def _facts(self, file: InputFile) -> tuple[pa.Schema, Survey, bool]:
        """A file's schema, what its footer says of sizes, and whether it holds times of the type INT96."""
        with translated(self._files.urls, file), self._open(file) as parquet:
            return self._files.shaped(file, schema_of(file, parquet)), survey(parquet, file.shown), has_int96(parquet)

    def _has_nanoseconds(self, file: InputFile) -> bool:
        with translated(self._files.urls, file), self._open(file) as coarse, self._open(file, "ns") as fine:
            return has_nanoseconds(coarse, fine)

    def _try_values(self) -> None:
        """Read the columns whose values may not fit their common type. Raises: DatasetError."""
        for file, names in self._unified.to_try().items():
            for name in names:
                with translated(self._files.urls, file), self._open(file) as parquet:
                    groups = list(range(parquet.metadata.num_row_groups))
                    try:
                        for _ in self._read(file, parquet, groups, [name]):
                            pass
                    except ARROW_ERRORS as error:
                        raise refuse_unfitting(self._unified, file, name, error) from error

    def _open(self, file: InputFile, int96_unit: str | None = None) -> pq.ParquetFile:
        unit = self._int96_unit if int96_unit is None else int96_unit
        try:
            return open_parquet(self._files.open_raw(file), file.shown, unit)
        except pa.ArrowException as error:
            with self._files.open_raw(file) as opened:
                refuse_other_content(opened.read(START_BYTES), file.shown, "Parquet")
            raise corrupt(file, error) from error

    def require(self, columns: Collection[str]) -> None:
        """Raises: DatasetError when one of these columns can't be read within the bounds."""
        for found in self._surveys.values():
            found.require(columns)

    def of_files(
        self, columns: list[str], start: int, tries: Collection[str] = ()
    ) -> Iterator[tuple[InputFile, pa.Table]]:
        """As FileSource has it. What is tried is decoded a row group at a time, before the group's rows are given."""
        self.require([*columns, *tries])
        skip = start
        for file in self._files.files:
            with translated(self._files.urls, file), self._open(file) as parquet:
                groups: list[int] = []
                for group in range(parquet.metadata.num_row_groups):
                    rows = parquet.metadata.row_group(group).num_rows
                    if not groups and skip >= rows:
                        skip -= rows
                    else:
                        groups.append(group)
                for some in [[group] for group in groups] if tries else [groups]:
                    for table in self._tried(file, parquet, some, columns, tries):
                        if skip < table.num_rows:
                            yield file, table.slice(skip)
                        skip = max(0, skip - table.num_rows)

    def _tried(
        self, file: InputFile, parquet: pq.ParquetFile, groups: list[int], columns: list[str], tries: Collection[str]
    ) -> Iterator[pa.Table]:
        """The rows of row groups; what is tried is decoded first, or together with them where that is one batch."""
        more = [name for name in tries if name not in columns]
        if more and is_one_batch(parquet, groups):
            for table in self._tables(file, parquet, groups, [*columns, *more]):
                yield table.select(columns)
            return
        left = self._left_to_try(file, parquet, groups[0], tries) if tries else []
        for _ in self._tables(file, parquet, groups, left) if left else ():
            pass
        yield from self._tables(file, parquet, groups, columns)

    def _left_to_try(self, file: InputFile, parquet: pq.ParquetFile, group: int, tries: Collection[str]) -> list[str]:
        """Decode the columns of texts in a dictionary; gives the others, and these too if one of them is damaged."""
        coded: dict[str, int] = {}
        leaf, wanted = 0, frozenset(tries)
        for column in parquet.schema_arrow:
            if column.name in wanted and column.type in _TEXTS and column.type == self.schema.field(column.name).type:
                coded.update({column.name: leaf} if stays_coded(parquet, group, leaf) else {})
            leaf += leaves_of(column.type)
        can_decode = not coded or self._texts_of(file).can_decode(parquet, group, list(coded.values()))
        return [name for name in tries if name not in coded or not can_decode]

    def _texts_of(self, file: InputFile) -> RepeatedTexts:
        return self._texts.setdefault(file, RepeatedTexts(file.shown, partial(self._files.open_raw, file)))

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
        for batch in self._texts_of(file).batches(parquet, groups, indices):
            table = pa.Table.from_batches([batch])
            if table.schema.equals(schema, check_metadata=True):
                yield table
                continue
            present = frozenset(table.column_names)
            arrays = [
                cast_column(table[column.name], column.type)
                if column.name in present
                else pa.nulls(table.num_rows, column.type)
                for column in schema
            ]
            yield pa.table(arrays, schema=schema)
