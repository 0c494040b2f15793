"""A row's values as templates see them, and how they print: the same text in every process and on every machine.

A null is not Python's None but a value of its own. It is false and equal to none, and it raises as soon as a template
needs its text. Jinja2 would otherwise print "None" for `{{ text | upper }}` or `{{ "a" ~ text }}`, and the user would
pay for it.
Lists and structs print as JSON with sorted keys. A value whose text differs from process to process, or that has none
(generators, methods, bytes), is an error of its row.
"""

import base64
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NoReturn, cast
from uuid import UUID

import numpy as np
import orjson
from jinja2 import StrictUndefined, Undefined, UndefinedError

from promptmill.cell_values import Unreadable

_JSON_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
_NUMPY_TIMES = (np.datetime64, np.timedelta64)
PLAIN = frozenset({str, int, float, bool, datetime, date, Decimal})  # a template may get these as they are


class _Null(StrictUndefined):
    """A null of the dataset: false, equal to none, not defined; it raises when a template prints it or computes with it."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, _Null)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(None)


class _Blob(bytes):
    """Bytes of the dataset, which have no text of their own."""

    def __str__(self) -> NoReturn:
        raise TypeError("bytes can't be printed; write {{ column | b64 }} for base64")

    def __repr__(self) -> str:
        return f"Blob({len(self)} bytes)"


def shield(name: str, value: object) -> object:
    """A column's value as a template may see it: nulls raise when they are printed, also inside lists and structs."""
    if value is None:
        word = _word(name)
        return _Null(f'column {name!r} is null; a null has no text. Write {{{{ {word} or "" }}}} or {{% if {word} %}}')
    if isinstance(value, Unreadable):
        return StrictUndefined(
            f"column {name!r} has {value.reason} in row {value.row}, and a prompt needs text. Fix the value, or write "
            f'{{{{ {_word(name)} | default("") }}}}'
        )
    if isinstance(value, bytes | bytearray):
        return _Blob(value)
    if isinstance(value, list | tuple | dict):
        inside = _Null(f"column {name!r} holds a null inside; a null has no text. Filter it out in the template")
        return _shield_inside(cast(object, value), inside)
    return value


def _word(name: str) -> str:
    """How a template names a column."""
    return name if name.isidentifier() else f"row[{name!r}]"


def _shield_inside(value: object, null: _Null) -> object:
    if value is None:
        return null
    if isinstance(value, dict):
        return {key: _shield_inside(inner, null) for key, inner in cast(dict[object, object], value).items()}
    if isinstance(value, list | tuple):
        return [_shield_inside(element, null) for element in cast(list[object], value)]
    return _Blob(value) if isinstance(value, bytes | bytearray) else value


def to_text(value: object) -> str:
    """The text that `{{ value }}` prints. Raises: UndefinedError for a null; TypeError for a value without a text."""
    if isinstance(value, str):
        return value
    if isinstance(value, Undefined | _Blob):
        return str(value)  # raises, and says why
    if isinstance(value, (int, float, timedelta, UUID, *_NUMPY_TIMES)):
        return str(value)  # pyright: ignore[reportUnknownArgumentType] - numpy's times have a type parameter
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, np.generic):
        return to_text(cast(object, value.item()))
    if isinstance(value, list | tuple | dict | np.ndarray):
        return to_json(cast(object, value))
    if value is None:
        raise UndefinedError("the template prints a null, which has no text. Test it with {% if … %}")
    raise TypeError(f"a value of type {type(value).__name__!r} has no text; use it with a filter such as list or join")


def to_json(value: object, indent: int | None = None) -> str:
    """The filter `tojson`: compact, keys sorted, nulls as null, decimals as numbers, dates in ISO 8601.

    Raises: TypeError for a value that JSON can't hold; ValueError for an indent other than 2.
    """
    if indent not in (None, 2):
        raise ValueError(f"tojson has indent {indent!r}; it must be 2, or left out")
    options = _JSON_OPTIONS | (orjson.OPT_INDENT_2 if indent else 0)
    try:
        return orjson.dumps(value, default=_json_value, option=options).decode()
    except orjson.JSONEncodeError as error:
        raise TypeError(str(error.__cause__ or error)) from error


def _json_value(value: object) -> Any:
    if isinstance(value, _Null):
        return None
    if isinstance(value, Decimal) and value.is_finite():
        return orjson.Fragment(format(value, "f"))
    if isinstance(value, np.ndarray):
        return cast(object, value.tolist())
    if isinstance(value, Mapping):
        return dict(cast(Mapping[object, object], value))
    if isinstance(value, Undefined | _Blob):
        return str(value)  # raises, and says why
    if isinstance(value, (timedelta, Decimal, *_NUMPY_TIMES)):
        return str(value)  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, np.generic):
        return cast(object, value.item())
    raise TypeError(f"a value of type {type(value).__name__!r} can't be written as JSON; leave it out")


def to_base64(value: object) -> str:
    """The filter `b64`, for image data URLs: bytes, or the UTF-8 of a text, in base64."""
    if isinstance(value, Undefined):
        return str(value)  # raises, and says why
    if isinstance(value, str):
        return base64.b64encode(value.encode()).decode()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"b64 got a value of type {type(value).__name__!r}; it takes bytes or a text")


def is_none(value: object) -> bool:
    """The test `is none`, which a null passes too."""
    return value is None or isinstance(value, _Null)
