"""A column's values as Python objects, where Python can hold them; one place, since reading a value may raise.

Arrow holds text that isn't UTF-8, dates after the year 9999 and time zones that nobody knows. Python doesn't. Such a value
becomes an `Unreadable`: a prompt that needs it is that row's failure, and the report shows it as far as it can. The output
carries it as it is, since carried columns never become Python objects.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import pyarrow as pa

from promptmill.arrow import pc
from promptmill.shorten import shorten

_Column: TypeAlias = pa.Array | pa.ChunkedArray
_REASON_CHARACTERS = 120
VALUE_ERRORS = (  # of a value that Python can't hold
    pa.ArrowException,
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A value that Python can't hold."""

    reason: str  # what it is instead of a value: "text that isn't valid UTF-8"
    text: str  # as far as it can be shown
    row: int = 0  # the row's number

    def __str__(self) -> str:
        return self.text


def values_of(column: _Column, start: int = 0) -> list[object]:
    """A column's values, in order, where the first belongs to row `start`; Unreadable for those that Python can't hold."""
    try:
        return column.to_pylist()
    except VALUE_ERRORS:
        return [value_at(column, place, start + place) for place in range(len(column))]


def value_at(column: _Column, place: int, row: int = 0) -> object:
    """The value at a place of a column; Unreadable if Python can't hold it."""
    scalar = column[place]
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return Unreadable("text that isn't valid UTF-8", _shown(scalar), row)
    except VALUE_ERRORS as error:
        reason = shorten(str(error) or type(error).__name__, _REASON_CHARACTERS)
        return Unreadable(f"a {scalar.type} that Python can't hold ({reason})", _shown(scalar), row)


def rows_of(table: pa.Table, start: int = 0) -> list[dict[str, Any]]:
    """A table's rows as mappings; its first row has the number `start`. A value that Python can't hold is an Unreadable."""
    columns = [values_of(column, start) for column in table.columns]
    return [dict(zip(table.column_names, values, strict=True)) for values in zip(*columns, strict=True)]


def _shown(scalar: "pa.Scalar[Any]") -> str:
    """A value as text, with � where its bytes are none."""
    try:
        found = scalar if pa.types.is_string(scalar.type) else pc.cast(scalar, pa.large_string())
        return cast(Any, found).as_buffer().to_pybytes().decode(errors="replace")
    except VALUE_ERRORS:
        return f"({scalar.type})"
