"""A row's values as templates see them, and as they are printed: the same text in every process and on every machine.

A null is not Python's None but a value of its own, false and equal to none, which fails as soon as anything is made of
its text: Jinja2 would otherwise print "None" from `{{ text | upper }}` or `{{ "a" ~ text }}`, and be paid for.
Lists and structs print as JSON with sorted keys; whatever has no text that is the same everywhere (generators, methods,
bytes) is an error of its row.
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

JSON_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
NUMPY_TIMES = (np.datetime64, np.timedelta64)
PLAIN = frozenset({str, int, float, bool, datetime, date, Decimal})  # what a template may be given as it is


class Null(StrictUndefined):
    """A null of the dataset: false, equal to none, not defined, an error when it is printed or computed with."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, Null)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(None)


class Blob(bytes):
    """Bytes of the dataset, which have no text of their own."""

    def __str__(self) -> NoReturn:
        raise TypeError("bytes can't be printed; write {{ column | b64 }} for base64")

    def __repr__(self) -> str:
        return f"Blob({len(self)} bytes)"


def shield(name: str, value: object) -> object:
    """A column's value as a template may have it: nulls that fail when printed, also within lists and structs."""
    if value is None:
        word = name if name.isidentifier() else f"row[{name!r}]"
        return Null(f'column {name!r} is null; a null has no text. Write {{{{ {word} or "" }}}} or {{% if {word} %}}')
    if isinstance(value, bytes | bytearray):
        return Blob(value)
    if isinstance(value, list | tuple | dict):
        inside = Null(f"column {name!r} holds a null inside; a null has no text. Filter it out in the template")
        return _shield_inside(cast(object, value), inside)
    return value


def _shield_inside(value: object, null: Null) -> object:
    if value is None:
        return null
    if isinstance(value, dict):
        return {key: _shield_inside(one, null) for key, one in cast(dict[object, object], value).items()}
    if isinstance(value, list | tuple):
        return [_shield_inside(one, null) for one in cast(list[object], value)]
    return Blob(value) if isinstance(value, bytes | bytearray) else value


def to_text(value: object) -> str:
    """What `{{ value }}` prints. Raises: UndefinedError for a null; TypeError for what has no text."""
    if isinstance(value, str):
        return value
    if isinstance(value, Undefined | Blob):
        return str(value)  # raises, and says why
    if isinstance(value, (int, float, timedelta, UUID, *NUMPY_TIMES)):
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
        raise UndefinedError("a null is printed; a null has no text. Test it with {% if … %}")
    raise TypeError(f"a value of type {type(value).__name__!r} has no text; use it with a filter such as list or join")


def to_json(value: object, indent: int | None = None) -> str:
    """The filter `tojson`: compact, keys sorted, nulls as null, decimals as numbers, dates in ISO 8601.

    Raises: TypeError for what JSON can't hold; ValueError for an indent other than 2.
    """
    if indent not in (None, 2):
        raise ValueError(f"tojson has indent {indent!r}; it is 2 or left out")
    options = JSON_OPTIONS | (orjson.OPT_INDENT_2 if indent else 0)
    try:
        return orjson.dumps(value, default=_json_value, option=options).decode()
    except orjson.JSONEncodeError as error:
        raise TypeError(str(error.__cause__ or error)) from error


def _json_value(value: object) -> Any:
    if isinstance(value, Null):
        return None
    if isinstance(value, Decimal) and value.is_finite():
        return orjson.Fragment(format(value, "f"))
    if isinstance(value, np.ndarray):
        return cast(object, value.tolist())
    if isinstance(value, Mapping):
        return dict(cast(Mapping[object, object], value))
    if isinstance(value, Undefined | Blob):
        return str(value)  # raises, and says why
    if isinstance(value, (timedelta, Decimal, *NUMPY_TIMES)):
        return str(value)  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, np.generic):
        return cast(object, value.item())
    raise TypeError(f"a value of type {type(value).__name__!r} is nothing that JSON can hold")


def to_base64(value: object) -> str:
    """The filter `b64`: bytes, or a text's UTF-8, in base64; for image data URLs."""
    if isinstance(value, Null):
        return str(value)  # raises, and says why
    if isinstance(value, str):
        return base64.b64encode(value.encode()).decode()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"b64 is given a value of type {type(value).__name__!r}; it takes bytes or a text")


def is_none(value: object) -> bool:
    """The test `is none`, which a null passes as well."""
    return value is None or isinstance(value, Null)
