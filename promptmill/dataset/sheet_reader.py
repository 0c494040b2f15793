"""Sheets of workbooks: a first pass keeps their texts on this machine's disk and finds their types, as CSV has them.

The first row with a value names the columns. Rows without any value are left out, as blank lines of a CSV file are.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import IO

import pyarrow as pa

from promptmill.dataset.files import Files, InputFile, translated
from promptmill.dataset.formats import suffix_of
from promptmill.dataset.open_document import document_rows
from promptmill.dataset.shapes import refuse_wide
from promptmill.dataset.spool import Spool
from promptmill.dataset.text_types import KINDS, TYPES, ZONED, has_zone, still_possible, type_of
from promptmill.dataset.unifying import refuse_repeated_columns
from promptmill.dataset.unreadable import UNREADABLE, UNREADABLE_TYPE, BadRow, cast_fitting, marks, misfit_reason
from promptmill.dataset.workbook import sheet_rows
from promptmill.errors import DatasetError
from promptmill.job.input_spec import TypeName

_BATCH_ROWS = 1_000
_Row = list[str | None]


class SheetReader:
    """A sheet of each of these workbooks."""

    def __init__(self, files: Files, types: Mapping[str, TypeName]) -> None:
        self._files = files
        self._types = types
        self.has_marks = bool(types)
        self.notes: tuple[str, ...] = ()
        self._kinds: dict[str, tuple[pa.DataType, ...]] = {}  # column → types that it may still have
        self._zoned: dict[str, bool] = {}
        self._spools: dict[InputFile, Spool] = {}
        for file in files.files:
            with translated(files.urls, file):
                self._spools[file] = self._spooled(file)
        self.schema = pa.schema([(name, self._type_of(name)) for name in self._kinds])
        self.rows = sum(spool.rows for spool in self._spools.values())

    def blocks(self, file: InputFile) -> Iterator[pa.RecordBatch]:
        """A file's rows with the types of the whole input."""
        spool = self._spools[file]
        reader = spool.open()
        for number in spool.batches():
            batch = reader.get_batch(number)
            bad: dict[int, BadRow] = {}
            first = spool.first_row(number) + 1
            columns = [self._column(file, batch, field, first, bad) for field in self.schema]
            if self.has_marks:
                schema = self.schema.append(pa.field(UNREADABLE, UNREADABLE_TYPE))
                yield pa.RecordBatch.from_arrays([*columns, marks(batch.num_rows, bad)], schema=schema)
            else:
                yield pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _column(
        self, file: InputFile, batch: pa.RecordBatch, field: pa.Field, first: int, bad: dict[int, BadRow]
    ) -> pa.Array:
        if field.name not in batch.schema.names:
            return pa.nulls(batch.num_rows, field.type)
        values = batch.column(field.name)
        found, misfits = cast_fitting(values, field.type)
        for place in misfits:
            text = str(values[place])
            reason = misfit_reason(file.shown, f"row {first + place:,}, ", field.name, text, field.type)
            bad.setdefault(place, BadRow(reason, text))
        return found

    def _type_of(self, name: str) -> pa.DataType:
        if name in self._types:
            return ZONED if self._zoned.get(name) else TYPES[self._types[name]]
        return type_of(self._kinds[name])

    def _spooled(self, file: InputFile) -> Spool:
        """A sheet's rows as texts, without its header; narrows the types of its columns."""
        with self._files.open_raw(file) as opened:
            rows = ((number, row) for number, row in enumerate(_sheet_rows(opened, file), 1) if any(row))
            names = _names(next(rows, (0, []))[1], file)
            schema = pa.schema([(name, pa.string()) for name in names])
            refuse_repeated_columns(file, schema)
            spool = Spool(schema)
            while some := list(islice(rows, _BATCH_ROWS)):
                columns = zip(*(_fitted(row, number, names, file) for number, row in some), strict=True)
                batch = pa.RecordBatch.from_arrays([pa.array(column, pa.string()) for column in columns], schema=schema)
                self._narrow(batch)
                spool.write(batch)
            spool.finish()
        return spool

    def _narrow(self, batch: pa.RecordBatch) -> None:
        for name in batch.schema.names:
            values = batch.column(name)
            if self._types.get(name) == "timestamp" and name not in self._zoned:
                found = has_zone(values)
                self._zoned.update({} if found is None else {name: found})
            kinds = self._kinds.get(name, () if name in self._types else KINDS)
            self._kinds[name] = still_possible(values, kinds)


def _sheet_rows(opened: IO[bytes], file: InputFile) -> Iterator[_Row]:
    read = document_rows if suffix_of(file.path) == ".ods" else sheet_rows
    return read(opened, file.sheet, file.shown)


def _names(row: _Row, file: InputFile) -> list[str]:
    while row and row[-1] is None:
        row = row[:-1]
    refuse_wide(file.shown, len(row))
    return [f"column_{number}" if name is None else name for number, name in enumerate(row, 1)]


def _fitted(row: _Row, number: int, names: Sequence[str], file: InputFile) -> _Row:
    """A row with as many cells as there are names. Raises: DatasetError when it has values without a name."""
    if any(value is not None for value in row[len(names) :]):
        raise DatasetError(
            f"{file.shown} has a value in row {number:,} to the right of its {len(names):,} columns, which the first row names "
            "(input.url). Name every column in the first row, and remove titles and notes beside the table."
        )
    return [*row[: len(names)], *([None] * (len(names) - len(row)))]
