"""JSONL: a first pass over all files finds the types, later passes give the rows in blocks.

The types come from the whole input, because a value late in a file must not break a run that has begun to pay. Values
that have no common type become JSON text, and so do numbers that wouldn't come back as they are written: an integer
beside a double, `1.10`, 30 digits.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import pyarrow as pa

from promptmill.arrow import MAX_LEVELS, levels_of, pc
from promptmill.bounded_json import JsonTooLarge, load_json, load_lines
from promptmill.dataset.files import Files, InputFile
from promptmill.dataset.json_errors import NoObject, reason
from promptmill.dataset.json_numbers import load_as_written, odd_lines
from promptmill.dataset.shapes import is_too_wide, refuse_wide
from promptmill.dataset.streams import lines_of
from promptmill.dataset.text_types import TYPES, ZONED, has_zone
from promptmill.dataset.unreadable import (
    MOST_RAW,
    NAMED,
    UNREADABLE,
    UNREADABLE_TYPE,
    BadRow,
    cast_fitting,
    marks,
    misfit_reason,
    refusal,
)
from promptmill.errors import DatasetError
from promptmill.job.input_spec import TypeName

_BLOCK_ROWS = 2_000
_BLOCK_LINE_BYTES = 1 << 23  # a block ends with the line that passes it
_LARGEST_IN_DOUBLE = 1 << 53
_BOM = b"\xef\xbb\xbf"

_Row = dict[str, Any]


class JsonlReader:
    """Files with a JSON object in each line."""

    def __init__(self, files: Files, types: Mapping[str, TypeName], skips: bool = False) -> None:
        """`skips`: a line that isn't a JSON object is marked as unreadable, else it is an error."""
        self._files = files
        self._types = types
        self._skips = skips
        self.has_marks = skips or bool(types)
        self._wrong: list[str] = []  # what is wrong with the first lines that can't be read
        self._wrong_count, self.rows = 0, 0
        self.notes: tuple[str, ...] = ()
        self._with_large: set[str] = set()  # columns with integers inside that no double holds
        self._with_odd: set[InputFile] = set()  # files that hold numbers to keep as they are written
        self.schema = self._infer()
        if self._wrong and not (skips and self.schema.names):
            raise DatasetError(refusal(self._wrong, self._wrong_count))

    def blocks(self, file: InputFile) -> Iterator[pa.RecordBatch]:
        """A file's rows with the types of the whole input."""
        looks = file in self._with_odd
        schema = self.schema.append(pa.field(UNREADABLE, UNREADABLE_TYPE)) if self.has_marks else self.schema
        for numbers, rows, bad in self._rows(file, looks):
            if bad and not self._skips:  # the first pass found none
                raise DatasetError(refusal([row.reason for row in bad.values()], len(bad)))
            columns = [self._column(file, numbers, rows, field, bad) for field in self.schema]
            ours = [marks(len(rows), bad)] if self.has_marks else []
            yield pa.RecordBatch.from_arrays([*columns, *ours], schema=schema)

    def _infer(self) -> pa.Schema:
        types: dict[str, pa.DataType | None] = {}  # None: the values have no common type
        zoned: dict[str, bool] = {}
        for file in self._files.files:
            for _, rows, bad in self._rows(file, True):
                self._wrong_count, self.rows = self._wrong_count + len(bad), self.rows + len(rows)
                self._wrong = [*self._wrong, *(row.reason for row in bad.values())][:NAMED]
                names = dict.fromkeys(name for row in rows for name in row)
                refuse_wide(file.shown, len(types | names))
                for name in names:
                    values = [row.get(name) for row in rows]
                    if self._types.get(name) == "timestamp" and name not in zoned:
                        found = has_zone(pa.array(_texts(values), pa.string()))
                        zoned.update({} if found is None else {name: found})
                    seen = types.get(name, pa.null()) if name in types else pa.null()
                    types[name] = None if seen is None or name in self._types else self._common(name, seen, values)
        kinds = {name: pa.string() if kind is None or pa.types.is_null(kind) else kind for name, kind in types.items()}
        asked = {name: TYPES[kind] for name, kind in self._types.items() if name in kinds}
        return pa.schema(list((kinds | asked | {name: ZONED for name, is_zoned in zoned.items() if is_zoned}).items()))

    def _common(self, name: str, seen: pa.DataType, values: list[Any]) -> pa.DataType | None:
        """The type that holds what a column had so far and these values; None where no type does, or one too deep or wide."""
        if is_too_wide(values):
            return None
        try:
            array = pa.array(values, from_pandas=False)
            fields = [pa.schema([("x", seen)]), pa.schema([("x", array.type)])]
            joined = pa.unify_schemas(fields, promote_options="permissive").field("x").type
        except (pa.ArrowException, OverflowError, TypeError):
            return None
        if pa.types.is_nested(array.type) and _has_large_integer(array):
            self._with_large.add(name)
        takes_doubles = pa.types.is_nested(joined) and name not in self._with_large
        if levels_of(joined) > MAX_LEVELS or _has_integer(values, array):
            return None
        if not (_keeps(seen, joined, takes_doubles) and _keeps(array.type, joined, takes_doubles)):
            return None
        texts = (pa.types.is_string(seen), pa.types.is_string(array.type))
        return None if pa.types.is_string(joined) and not all(texts) and not _has_null(seen, array.type) else joined

    def _rows(self, file: InputFile, looks: bool) -> Iterator[tuple[list[int], list[_Row], dict[int, BadRow]]]:
        """Rows with the numbers of their lines, and those that can't be read by place, which are empty.

        `looks` for numbers to keep as they are written.
        """
        for numbers, lines in self._blocks_of_lines(file):
            bad: dict[int, BadRow] = {}
            try:
                rows = _objects(load_lines(lines))
            except _ROW_ERRORS:
                bad = _bad_rows(file, numbers, lines)
                lines = [b"{}" if place in bad else line for place, line in enumerate(lines)]  # noqa: PLW2901
                rows = _objects(load_lines(lines))
            if looks:
                for at in odd_lines(lines, rows):
                    rows[at], is_odd = load_as_written(lines[at])
                    self._with_odd.update([file] if is_odd else [])
            yield numbers, rows, bad

    def _blocks_of_lines(self, file: InputFile) -> Iterator[tuple[list[int], list[bytes]]]:
        numbers: list[int] = []
        lines: list[bytes] = []
        held = 0
        with self._files.open(file) as opened:
            for number, read in enumerate(lines_of(opened, file.shown), 1):
                line = read.removeprefix(_BOM) if number == 1 else read
                if line.isspace():
                    continue
                numbers.append(number)
                lines.append(line)
                held += len(line)
                if len(lines) == _BLOCK_ROWS or held > _BLOCK_LINE_BYTES:
                    yield numbers, lines
                    numbers, lines, held = [], [], 0
        if lines:
            yield numbers, lines

    def _column(
        self, file: InputFile, numbers: list[int], rows: list[_Row], field: pa.Field, bad: dict[int, BadRow]
    ) -> pa.Array:
        values = [row.get(field.name) for row in rows]
        if field.name not in self._types and not pa.types.is_string(field.type):
            return pa.array(values, field.type)
        texts = pa.array(_texts(values), pa.string())
        found, misfits = cast_fitting(texts, field.type)
        for place in misfits:
            text = str(texts[place])
            where = f"line {numbers[place]:,}, "
            misfit = misfit_reason(file.shown, where, field.name, text, self._types[field.name])
            bad.setdefault(place, BadRow(misfit, text))
        return found


def _texts(values: list[Any]) -> list[str | None]:
    return [value if value is None or isinstance(value, str) else _text_of(value) for value in values]


def _text_of(value: object) -> str:
    """A value as JSON; a double that is read as a double is one that Python prints as it is written."""
    return repr(value) if isinstance(value, float) else orjson.dumps(value).decode()


_ROW_ERRORS = (JsonTooLarge, orjson.JSONDecodeError, NoObject)


def _objects(values: list[Any]) -> list[_Row]:
    """The values, if each of them is an object. Raises: NoObject."""
    for kind in set(map(type, values)) - {dict}:
        raise NoObject(kind.__name__)
    return values


def _bad_rows(file: InputFile, numbers: list[int], lines: list[bytes]) -> dict[int, BadRow]:
    """The lines of a block that can't be read, by place."""
    found: dict[int, BadRow] = {}
    for place, line in enumerate(lines):
        try:
            _objects([load_json(line)])
        except _ROW_ERRORS as error:
            raw = line[:MOST_RAW].decode(errors="backslashreplace").strip()
            found[place] = BadRow(reason(file, numbers[place], line, error), raw)
    return found


def _keeps(kind: pa.DataType, joined: pa.DataType, takes_doubles: bool) -> bool:
    """Whether values of a type come back from a joined one; `takes_doubles` for integers inside lists and objects."""
    if pa.types.is_integer(kind):
        return takes_doubles or not pa.types.is_floating(joined)
    if pa.types.is_struct(kind) and pa.types.is_struct(joined):
        names = [kind.field(at).name for at in range(kind.num_fields)]
        return all(_keeps(kind.field(name).type, joined.field(name).type, takes_doubles) for name in names)
    if pa.types.is_list(kind) and pa.types.is_list(joined):
        return _keeps(kind.value_type, joined.value_type, takes_doubles)
    return True


def _has_integer(values: list[Any], array: Any) -> bool:
    """Whether one of the values that became doubles is an integer, and would come back with a point."""
    if not pa.types.is_floating(array.type):
        return False
    whole = pc.any(pc.equal(pc.floor(array), array)).as_py()
    return bool(whole) and any(type(value) is int for value in values)


def _has_large_integer(array: Any) -> bool:
    """Whether an integer in an array, or inside its lists and objects, is larger than a double holds."""
    if pa.types.is_integer(array.type):
        bounds = pc.min_max(array)
        low, high = bounds["min"].as_py() or 0, bounds["max"].as_py() or 0
        return max(-low, high) > _LARGEST_IN_DOUBLE
    if pa.types.is_list(array.type) or pa.types.is_struct(array.type):
        inner = [array.flatten()] if pa.types.is_list(array.type) else array.flatten()
        return any(_has_large_integer(part) for part in inner)
    return False


def _has_null(*types: pa.DataType) -> bool:
    return any(pa.types.is_null(kind) for kind in types)
