"""CSV and JSONL: a first pass over all files finds the types, later passes give the rows in blocks.

The types come from the whole input, because a value late in a file must not break a run that has begun to pay. A column
becomes a number only when every value is written as a number is: `007` and `+1` stay text, and so do integers that
don't fit 64 bits. JSON values that have no common type become JSON text.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

import orjson
import pyarrow as pa
import pyarrow.csv as pacsv

from promptmill.arrow import MAX_LEVELS, levels_of, pc
from promptmill.bounded_json import JsonTooLarge, load_json
from promptmill.dataset.files import Files, InputFile
from promptmill.dataset.stoppable import StoppableFile
from promptmill.dataset.streams import lines_of
from promptmill.errors import DatasetError
from promptmill.shorten import shorten

_BLOCK_BYTES = 1 << 20
_BLOCK_ROWS = 2_000
_BLOCK_LINE_BYTES = 1 << 23  # of JSON lines: a block ends with the line that passes it
_SHOWN = 500  # characters of a list of names in a message
_PATTERNS: tuple[tuple[pa.DataType, str], ...] = (  # a column has the first type whose pattern all its values match
    (pa.bool_(), r"^(true|false|True|False)$"),
    (pa.int64(), r"^(0|-?[1-9][0-9]{0,17})$"),
    (pa.float64(), r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$"),
    (pa.date32(), r"^[0-9]{4}-[01][0-9]-[0-3][0-9]$"),
    (
        pa.timestamp("us"),
        r"^[0-9]{4}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?$",
    ),
)


class CsvReader:
    """CSV files with a header."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self.schema = self._infer()

    def blocks(self, file: InputFile) -> Iterator[pa.RecordBatch]:
        """A file's rows with the types of the whole input."""
        return self._read(file, self.schema)

    def _infer(self) -> pa.Schema:
        possible: dict[str, list[pa.DataType]] = {}
        for file in self._files.files:
            names = self._header(file)
            if possible and list(possible) != names:
                raise DatasetError(
                    f"{file.shown} has the columns {shorten(str(names), _SHOWN)}; the first file has "
                    f"{shorten(str(list(possible)), _SHOWN)} (input.url). Give files with equal headers."
                )
            possible = possible or {name: [kind for kind, _ in _PATTERNS] for name in names}
            text = pa.schema([(name, pa.string()) for name in names])
            for block in self._read(file, text):
                for name in names:
                    possible[name] = _still_possible(block[name], possible[name])
        return pa.schema([(name, kinds[0] if kinds else pa.string()) for name, kinds in possible.items()])

    def _header(self, file: InputFile) -> list[str]:
        with self._files.open(file) as opened:
            start = opened.read(_BLOCK_BYTES)
        text = io.StringIO(start.decode("utf-8-sig", errors="replace"), newline="")
        try:
            names = next(csv.reader(text), [])
        except csv.Error as error:
            raise DatasetError(
                f"{file.shown} has a header that can't be read: {error}; a column's name is a short text (input.url). Fix "
                "the header."
            ) from error
        if len(start) == _BLOCK_BYTES and not text.read(1):
            raise _too_long(file)
        if not names:
            raise DatasetError(
                f"{file.shown} is empty; a CSV file begins with a header (input.url). Give a file with rows."
            )
        repeated = sorted(name for name, times in Counter(names).items() if times > 1)
        if repeated:
            raise DatasetError(
                f"{file.shown} names the columns {shorten(str(repeated), _SHOWN)} twice; a name stands for one column. "
                "Rename them."
            )
        return names

    def _read(self, file: InputFile, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        wrong: list[pacsv.InvalidRow] = []

        def note(row: pacsv.InvalidRow) -> str:
            wrong.append(row)
            return "error"

        convert = pacsv.ConvertOptions(
            column_types=schema,
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[""],
        )
        parse = pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=note)
        read = pacsv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES)
        with self._files.open(file) as opened:
            stoppable = StoppableFile(opened)
            reader = None
            try:
                reader = pacsv.open_csv(cast(Any, stoppable), read, parse, convert)
                for batch in reader:
                    stoppable.require_whole()  # before the last row is given, which may be half a row
                    yield batch
                stoppable.require_whole()
            except pa.ArrowInvalid as error:
                stoppable.require_whole()
                raise self._explain(file, error, wrong) from error
            finally:
                stoppable.stop(reader)

    def _explain(self, file: InputFile, error: Exception, wrong: list[Any]) -> DatasetError:
        if wrong:
            row = wrong[0]
            return DatasetError(
                f"{file.shown} has {row.actual_columns} fields in row {row.number or '?'} ({shorten(row.text, 80)!r}); its "
                f"header has {row.expected_columns} (input.url). Quote fields that hold commas, or fix the row."
            )
        if "straddling" in str(error):
            return _too_long(file)
        if "UTF8" in str(error):
            with self._files.open(file) as opened:
                for number, line in enumerate(lines_of(opened, file.shown), 1):
                    try:
                        line.decode()
                    except UnicodeDecodeError:
                        return _not_utf8(file, number)
        return DatasetError(f"{file.shown} isn't CSV that can be read: {error} (input.url). Fix the file.")


def _too_long(file: InputFile) -> DatasetError:
    return DatasetError(
        f"{file.shown} has a header or a row of more than {_BLOCK_BYTES:,} bytes, which is the limit for CSV (input.url). "
        "Close each quote, and write longer rows as JSONL or Parquet."
    )


def _still_possible(values: pa.Array, kinds: list[pa.DataType]) -> list[pa.DataType]:
    present = pc.drop_null(values)
    patterns = {str(kind): pattern for kind, pattern in _PATTERNS}
    return [
        kind for kind in kinds if pc.all(pc.match_substring_regex(present, patterns[str(kind)]), min_count=0).as_py()
    ]


def _not_utf8(file: InputFile, line: int) -> DatasetError:
    return DatasetError(
        f"{file.shown} isn't UTF-8 in line {line}; text is read as UTF-8 (input.url). Convert the file."
    )


class JsonlReader:
    """Files with a JSON object in each line."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self.schema = self._infer()

    def blocks(self, file: InputFile) -> Iterator[pa.RecordBatch]:
        """A file's rows with the types of the whole input."""
        for rows in self._rows(file):
            columns = [_column([row.get(field.name) for row in rows], field.type) for field in self.schema]
            yield pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _infer(self) -> pa.Schema:
        types: dict[str, pa.DataType | None] = {}  # None: the values have no common type
        for file in self._files.files:
            for rows in self._rows(file):
                for name in dict.fromkeys(name for row in rows for name in row):
                    seen = types.get(name, pa.null()) if name in types else pa.null()
                    types[name] = None if seen is None else _common(seen, [row.get(name) for row in rows])
        kinds = {name: pa.string() if kind is None or pa.types.is_null(kind) else kind for name, kind in types.items()}
        return pa.schema(list(kinds.items()))

    def _rows(self, file: InputFile) -> Iterator[list[dict[str, Any]]]:
        rows: list[dict[str, Any]] = []
        held = 0
        with self._files.open(file) as opened:
            for number, line in enumerate(lines_of(opened, file.shown), 1):
                if not line.strip():
                    continue
                rows.append(_parse(file, number, line))
                held += len(line)
                if len(rows) == _BLOCK_ROWS or held > _BLOCK_LINE_BYTES:
                    yield rows
                    rows, held = [], 0
        if rows:
            yield rows


def _parse(file: InputFile, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = load_json(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
    except JsonTooLarge as error:
        raise DatasetError(
            f"{file.shown} has a row in line {number} that can't be used: {error} (input.url). Write the value that is so "
            "deep or large as a text, or leave it out."
        ) from error
    except orjson.JSONDecodeError as error:
        try:
            line.decode()
        except UnicodeDecodeError:
            raise _not_utf8(file, number) from error
        raise DatasetError(
            f"{file.shown} isn't JSON in line {number}: {error}; JSONL has one object a line (input.url). Fix the line."
        ) from error
    if not isinstance(row, dict):
        raise DatasetError(
            f"{file.shown} has {type(row).__name__} in line {number}; JSONL has one object a line (input.url). Fix the line."
        )
    return cast(dict[str, Any], row)


def _common(seen: pa.DataType, values: list[Any]) -> pa.DataType | None:
    """The type that holds the values seen so far and these; None where there is no such type, or it is too deep."""
    try:
        found = pa.array(values, from_pandas=False).type
        fields = [pa.schema([("x", seen)]), pa.schema([("x", found)])]
        joined = pa.unify_schemas(fields, promote_options="permissive").field("x").type
    except (pa.ArrowException, OverflowError, TypeError):
        return None
    if levels_of(joined) > MAX_LEVELS:
        return None
    texts = (pa.types.is_string(seen), pa.types.is_string(found))
    return None if pa.types.is_string(joined) and not all(texts) and not _has_null(seen, found) else joined


def _has_null(*types: pa.DataType) -> bool:
    return any(pa.types.is_null(kind) for kind in types)


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_string(kind):
        texts = [value if value is None or isinstance(value, str) else orjson.dumps(value).decode() for value in values]
        return pa.array(texts, pa.string())
    return pa.array(values, kind)
