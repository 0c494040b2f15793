"""JSON that others wrote → Python values, within bounds on how deep it nests and how many values it holds.

Deep nesting is what ends a process: Arrow's C++ and most functions over JSON call themselves once for each level. Many
small values are what fills a memory: `[]` takes 3 bytes as text and 64 as an object.
Brackets and commas are counted in the bytes first. They also stand in texts, so a value that seems to be beyond a bound
is looked at closely, and everything else costs no more than the count.
"""

import re
from collections.abc import Sequence
from typing import Any, cast

import orjson

_MAX_DEPTH = 200  # levels; orjson writes 254, and Python's own stack ends at about 1,000 calls
_MAX_VALUES = 1_000_000  # of one document: about 100 MB as Python objects
_SMALL_BYTES = 2 * _MAX_DEPTH  # of a document that is within both bounds: a level takes 2 bytes and a value 1
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)  # one without an end runs to the end: in linear time


class JsonTooLarge(ValueError):
    """JSON that is nested too deeply, or holds too many values."""


def load_json(data: bytes | str, most_values: int = _MAX_VALUES) -> Any:
    """The value. Raises: JsonTooLarge; orjson.JSONDecodeError when it isn't JSON."""
    raw = data.encode() if isinstance(data, str) else data
    if len(raw) <= min(_SMALL_BYTES, most_values):
        return orjson.loads(raw)
    opened = raw.count(b"[") + raw.count(b"{")
    if len(raw) > most_values and opened + raw.count(b",") > most_values:
        bare = _TEXT.sub(b"", raw)
        values = 1 + bare.count(b"[") + bare.count(b"{") + bare.count(b",")
        if values > most_values:
            raise JsonTooLarge(f"it holds about {values:,} values; the limit is {most_values:,}")
    value: Any = orjson.loads(raw)
    if opened > _MAX_DEPTH and is_deeper_than(value, _MAX_DEPTH):
        raise JsonTooLarge(f"it is nested deeper than {_MAX_DEPTH} levels")
    return value


def load_lines(lines: Sequence[bytes]) -> list[Any]:
    """The value of each line. Raises: as `load_json`."""
    load = orjson.loads if max(map(len, lines), default=0) <= _SMALL_BYTES else load_json
    return list(map(load, lines))


def is_deeper_than(value: object, most: int) -> bool:
    """Whether lists and objects stand inside each other in more levels than that; a plain value has none."""
    level: list[Any] = [value]
    for _ in range(most):
        level = [inner for outer in level if isinstance(outer, list | dict) for inner in _inside(cast(object, outer))]
        if not level:
            return False
    return any(isinstance(inner, list | dict) for inner in level)


def _inside(value: object) -> Any:
    return cast(dict[Any, Any], value).values() if isinstance(value, dict) else value
