"""CSV: a first pass over all files finds how they are written and their types, later passes give the rows in blocks.

The types come from the whole input, because a value late in a file must not break a run that has begun to pay.
A row has to fit into what Arrow reads at once. That is little for usual rows, so little is read ahead of them, and more
only for a file that has longer rows.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

import pyarrow as pa
import pyarrow.csv as pacsv

from promptmill.dataset.csv_dialect import Dialect, decoded, escape_of, first_row, short_lines, sniff, without_comments
from promptmill.dataset.csv_errors import RowTooLong, explain, refuse_repeated, too_long, wrong_fields
from promptmill.dataset.csv_options import AHEAD_BYTES, BLOCKS, Known, arrow_options
from promptmill.dataset.csv_quotes import LastRow, refuse_text_behind_quotes
from promptmill.dataset.csv_streams import Watch, utf8_stream
from promptmill.dataset.files import Files, InputFile
from promptmill.dataset.shapes import refuse_wide
from promptmill.dataset.stoppable import StoppableFile
from promptmill.dataset.text_types import KINDS, TYPES, ZONED, has_zone, still_possible, type_of
from promptmill.dataset.unreadable import (
    UNREADABLE,
    UNREADABLE_TYPE,
    BadRow,
    Gaps,
    cast_fitting,
    marks,
    misfit_reason,
    refusal,
)
from promptmill.errors import DatasetError
from promptmill.job.input_spec import Csv, TypeName

_START_BYTES = 1 << 20  # of a file, from which we find out how it is written; they hold the header
_MOST_BLOCKS = 4  # that Arrow holds when they are large; with 3 it sometimes waits for one more
_TABBED = (".tsv", ".tab")


class CsvReader:
    """CSV files."""

    def __init__(self, files: Files, asked: Csv, types: Mapping[str, TypeName], skips: bool = False) -> None:
        """`skips`: a row with too many or too few fields is marked as unreadable, else it is an error."""
        self._files = files
        self._asked = asked
        self._types = types
        self._skips = skips
        self.has_marks = skips or bool(types)
        self._known: dict[InputFile, Known] = {}
        self._kinds: dict[str, tuple[pa.DataType, ...]] = {}  # column → types that it may still have
        self._zoned: dict[str, bool] = {}
        for file in files.files:
            self._known[file] = self._survey(file)
        if not skips:
            self._refuse_wrong()
        self.schema = pa.schema([(name, self._type_of(name)) for name in self._kinds])
        self.notes = tuple(self._notes())
        self.rows = sum(known.rows for known in self._known.values())

    def _notes(self) -> Iterator[str]:
        with_rows = [(file, self._known[file]) for file in self._files.files if self._known[file].names]
        for dialect in dict.fromkeys(str(known.dialect) for _, known in with_rows):
            yield f"CSV is read with {dialect}"
        if len(with_rows) < len(self._files.files):
            yield f"{len(self._files.files) - len(with_rows):,} file(s) with a header only skipped"
        for name in self.schema.names:
            lacking = [file.shown for file, known in with_rows if name not in known.names]
            if lacking:
                yield f"the column {name!r} is null in {len(lacking):,} file(s) that don't have it, such as {lacking[0]}"

    def blocks(self, file: InputFile) -> Iterator[pa.RecordBatch]:
        """A file's rows with the types of the whole input."""
        known = self._known[file]
        if not known.names:
            return
        own = pa.schema(
            [(name, pa.string() if name in self._types else self.schema.field(name).type) for name in known.names]
        )
        gaps = Gaps(known.first_row)
        row = known.first_row
        for block in self._read(file, known, own, gaps):
            found = self._finished(file, known, *gaps.fill(block), row)
            yield found
            row += found.num_rows
        rest = self._finished(file, known, *gaps.fill(pa.RecordBatch.from_pylist([], own)), row)
        if rest.num_rows:
            yield rest

    def _finished(
        self, file: InputFile, known: Known, block: pa.RecordBatch, wrong: Mapping[int, pacsv.InvalidRow], row: int
    ) -> pa.RecordBatch:
        """A block with the types of the whole input; its first row has the number `row`."""
        bad = {place: BadRow(wrong_fields(file, known.dialect, found), found.text) for place, found in wrong.items()}
        if bad and not self._skips:  # the first pass found none
            raise DatasetError(refusal([row.reason for row in bad.values()], len(bad)))
        columns = [self._column(file, block, field, row, bad) for field in self.schema]
        if not self.has_marks:
            return pa.RecordBatch.from_arrays(columns, schema=self.schema)
        schema = self.schema.append(pa.field(UNREADABLE, UNREADABLE_TYPE))
        return pa.RecordBatch.from_arrays([*columns, marks(block.num_rows, bad)], schema=schema)

    def _column(
        self, file: InputFile, block: pa.RecordBatch, field: pa.Field, row: int, bad: dict[int, BadRow]
    ) -> pa.Array:
        if field.name not in block.schema.names:
            return pa.nulls(block.num_rows, field.type)
        values = block.column(field.name)
        if field.name not in self._types:
            return values
        found, misfits = cast_fitting(values, field.type)
        for place in misfits:
            text = str(values[place])
            reason = misfit_reason(file.shown, f"row {row + place:,}, ", field.name, text, self._types[field.name])
            bad.setdefault(place, BadRow(reason, text))
        return found

    def _refuse_wrong(self) -> None:
        """Raises: DatasetError when some rows have too many or too few fields."""
        wrong = [
            (file, known, row) for file in self._files.files for known in [self._known[file]] for row in known.wrong
        ]
        if wrong:
            count = sum(known.wrong_count for known in self._known.values())
            raise DatasetError(refusal((wrong_fields(file, known.dialect, row) for file, known, row in wrong), count))

    def _type_of(self, name: str) -> pa.DataType:
        if name in self._types:
            return ZONED if self._zoned.get(name) else TYPES[self._types[name]]
        return type_of(self._kinds[name])

    def _survey(self, file: InputFile) -> Known:
        """How a file is written, its names, and what types its rows leave to its columns."""
        with self._files.open(file) as opened:
            start = opened.read(_START_BYTES)
        dialect = sniff(start, self._asked, file.shown, any(end in file.path.lower() for end in _TABBED))
        known = Known(self._names(file, start, dialect), dialect)
        if not known.names:
            return known
        watch = Watch()
        wrong: DatasetError | None = None
        try:
            known = self._infer(file, known, watch)
        except DatasetError as error:
            wrong = error
        is_wrong = wrong is not None or known.wrong_count
        asks = self._asked.escape is None and dialect.quote and (watch.has_escapes or is_wrong)
        escape = self._escape(file, dialect, watch.has_escapes) if asks else ""
        if escape:
            return self._infer(file, replace(known, dialect=replace(dialect, escape=escape)), watch)
        if wrong is not None:
            raise wrong
        if watch.has_inner_quotes and self._asked.quote is None:
            with self._files.open(file) as opened:
                refuse_text_behind_quotes(file, opened, dialect)
        return known

    def _names(self, file: InputFile, start: bytes, dialect: Dialect) -> tuple[str, ...]:
        lines = decoded(start, dialect.encoding).split("\n", dialect.skip_lines)[dialect.skip_lines :]
        text = without_comments("".join(lines), dialect.comment)
        try:
            names = first_row(text, dialect.delimiter, dialect.quote)
        except csv.Error as error:
            raise DatasetError(
                f"{file.shown} has a header that can't be read with {dialect}: {error}; a column's name is a short text "
                "(input.csv). Fix the header."
            ) from error
        if len(start) == _START_BYTES and len("".join(names)) + len(names) >= len(text.rstrip("\n")) - 1:
            raise too_long(file, _START_BYTES, dialect)
        refuse_wide(file.shown, len(names))
        if not dialect.header:
            return tuple(f"column_{number}" for number in range(1, len(names) + 1))
        refuse_repeated(file, names)
        return tuple(names)

    def _infer(self, file: InputFile, known: Known, watch: Watch) -> Known:
        """The file with the bytes at once that its longest row needs; narrows the types of its columns."""
        text = pa.schema([(name, pa.string()) for name in known.names])
        for block_bytes in BLOCKS:
            known = replace(known, block_bytes=block_bytes)
            try:
                rows, gaps = 0, Gaps(known.first_row)
                for block in self._read(file, known, text, gaps, watch):
                    self._narrow(block)
                    gaps.fill(block)
                    rows += block.num_rows
                if not (rows or gaps.count):
                    return replace(known, names=())
                self._narrow(pa.RecordBatch.from_pylist([], text))  # perhaps no row could be read
                return replace(known, rows=rows + gaps.count, wrong=tuple(gaps.first), wrong_count=gaps.count)
            except RowTooLong:
                continue
        raise too_long(file, BLOCKS[-1], known.dialect)

    def _narrow(self, block: pa.RecordBatch) -> None:
        for name in block.schema.names:
            values = block.column(name)
            if self._types.get(name) == "timestamp" and name not in self._zoned:
                found = has_zone(values)
                self._zoned.update({} if found is None else {name: found})
            kinds = self._kinds.get(name, () if name in self._types else KINDS)
            self._kinds[name] = still_possible(values, kinds)

    def _escape(self, file: InputFile, dialect: Dialect, has_escapes: bool) -> str:
        with self._files.open(file) as first, self._files.open(file) as second:
            texts = [
                io.TextIOWrapper(cast(Any, opened), dialect.encoding, "replace", newline="")
                for opened in (first, second)
            ]
            found = escape_of(short_lines(texts[0]), short_lines(texts[1]), dialect, file.shown, has_escapes)
            for text in texts:
                text.detach()
            return found

    def _read(
        self, file: InputFile, known: Known, schema: pa.Schema, gaps: Gaps, watch: Watch | None = None
    ) -> Iterator[pa.RecordBatch]:
        """A file's rows without those that have too many or too few fields; `gaps` takes these down."""
        read, parse, convert = arrow_options(known, schema, self._asked)
        last = LastRow(known.dialect, len(known.names), gaps)
        parse.invalid_row_handler = last.note
        most_blocks = None if 32 * known.block_bytes <= AHEAD_BYTES else _MOST_BLOCKS
        with self._files.open(file) as opened:
            stream = utf8_stream(opened, known.dialect, file.shown, watch)
            stoppable = StoppableFile(last.behind(stream), known.block_bytes, most_blocks)
            reader = None
            try:
                reader = pacsv.open_csv(stoppable.for_arrow(), read, parse, convert)
                for batch in reader:
                    stoppable.require_whole()  # before the last row is given, which may be half a row
                    yield batch
                stoppable.require_whole()
                last.require(file, known.dialect)
            except pa.ArrowInvalid as error:
                stoppable.require_whole()
                if "straddling" in str(error):
                    raise RowTooLong from error
                wrong = gaps.first if gaps.is_too_much else []
                raise explain(file, known.dialect, error, wrong, lambda: self._files.open(file)) from error
            finally:
                stoppable.stop(reader)
