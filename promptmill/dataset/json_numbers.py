"""JSON numbers that keep their digits: those that Python or a double would print otherwise stay as they are written.

orjson reads `1.10` as 1.1 and 30 digits as a double. To read all lines with a parser that tells how a number is written
would take three times as long. So RE2 looks for such numbers in many lines at once, and only lines that may hold one are
read again. The expression also finds some in texts, and some that come back well; that costs time and nothing else.
"""

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, cast

import orjson
import pyarrow as pa

from promptmill.arrow import pc

_AFTER = r"[:\[,][ \t\r\n]*-?"
_ODD = _AFTER + (
    r"(?:"
    r"[0-9]{19}"  # more digits than 64 bits are sure to hold
    r"|[0-9.]+[eE]"
    r"|[0-9]+\.[0-9]+0[ \t\r\n,\]}]"  # 1.10; 1.0 comes back
    r"|[0-9]{9,}\.|[0-9]+\.[0-9]{16}|[1-9][0-9]{3,}\.[0-9]{8}|[1-9][0-9]*\.[0-9]{13}"  # more digits than a double keeps
    r"|0\.0000"  # Python prints it with an exponent
    r")|[:\[,][ \t\r\n]*-0[ \t\r\n,\]}]"
)
_GROUP_LINES = 16  # that are compared at once; mostly they are equal
_NUMBER = re.compile(rb"[:\[,][ \t\r\n]*(-?[0-9][-+0-9.eE]*)")


def odd_lines(lines: Sequence[bytes], rows: Sequence[object]) -> list[int]:
    """Where the lines stand that may hold a number that wouldn't come back as it is written; `rows` are their values."""
    found = pc.match_substring_regex(pa.array(lines, pa.large_binary()), _ODD)
    marked = cast(list[int], pc.indices_nonzero(found).to_pylist()) if found.true_count else []
    groups = [marked[start : start + _GROUP_LINES] for start in range(0, len(marked), _GROUP_LINES)]
    return [
        at
        for group in groups
        if not _are_rewritten([lines[at] for at in group], [rows[at] for at in group])
        for at in group
        if not (_are_rewritten([lines[at]], [rows[at]]) or _all_come_back(lines[at]))
    ]


def _are_rewritten(lines: Sequence[bytes], rows: Sequence[object]) -> bool:
    """Whether orjson would write the lines as they are, spaces aside; then all of their numbers come back."""
    return _without_spaces(orjson.dumps(rows)[1:-1]) == _without_spaces(b",".join(lines))


def _without_spaces(line: bytes) -> bytes:
    return line.translate(None, b" \t\r\n")


def _all_come_back(line: bytes) -> bool:
    """Whether orjson writes the numbers of a line as they are written; texts may make it seem otherwise."""
    written = b"[" + b",".join(_NUMBER.findall(line)) + b"]"
    try:
        return orjson.dumps(orjson.loads(written)) == written
    except orjson.JSONDecodeError:
        return False


def load_as_written(line: bytes) -> tuple[dict[str, Any], bool]:
    """The object in a line of valid JSON, and whether it differs from what orjson reads.

    A number that wouldn't come back is an `orjson.Fragment` of its characters. Inside lists and objects only one whose
    digits would be lost is, since a template must reach what stands beside it: `1.10` there is 1.1.
    """
    numbers = _Numbers()
    row = cast(dict[str, Any], json.loads(line, parse_int=numbers.integer, parse_float=numbers.double))
    if not numbers.has_odd:
        return row, False
    return {name: _inner(value) if isinstance(value, list | dict) else value for name, value in row.items()}, True


def _inner(value: object) -> object:
    if isinstance(value, dict):
        return {name: _inner(inner) for name, inner in cast(dict[str, object], value).items()}
    if isinstance(value, list):
        return [_inner(inner) for inner in cast(list[object], value)]
    if isinstance(value, orjson.Fragment):
        written = orjson.dumps(value).decode()
        plain = float(written)
        return plain if Decimal(repr(plain)) == Decimal(written) else value
    return value


class _Numbers:
    """Reads the numbers of a line."""

    def __init__(self) -> None:
        self.has_odd = False

    def integer(self, text: str) -> int | orjson.Fragment:
        if len(text) <= 20:
            value = int(text)
            if -(1 << 63) <= value < 1 << 63 and str(value) == text:
                return value
        return self._odd(text)

    def double(self, text: str) -> float | orjson.Fragment:
        value = float(text)
        return value if repr(value) == text else self._odd(text)

    def _odd(self, text: str) -> orjson.Fragment:
        self.has_odd = True
        return orjson.Fragment(text)
