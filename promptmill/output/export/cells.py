"""What becomes of values in files that know fewer types than Parquet. Pure."""

import base64
import math
import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import orjson

from promptmill.cell_values import Unreadable

CELL_CHARACTERS = 32_767  # in one cell of a workbook; Excel's limit (support.microsoft.com, read 2026-11-27)
_EXACT_INTEGER = 10**15  # Excel keeps fifteen digits of a number (the same page)
_FIRST_YEAR = 1900  # of a workbook's dates
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # XML 1.0 has no way to write these


def json_value(value: object) -> Any:
    """A value as JSON has it: decimals and times as text, bytes in base64."""
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case Decimal():
            return f"{value:f}"
        case Unreadable() | timedelta():
            return str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case dict():
            return {str(name): json_value(inner) for name, inner in value.items()}
        case list() | tuple():
            return [json_value(inner) for inner in value]
        case _:
            return value


def csv_value(value: object) -> str:
    """A value as the text of a CSV field: nothing for null, JSON for lists and objects, true and false as in JSON."""
    plain = json_value(value)
    match plain:
        case None:
            return ""
        case str():
            return plain
        case float():
            return repr(plain)
        case _:
            return orjson.dumps(plain).decode()


def sheet_value(value: object) -> object:
    """A value as a workbook's cell holds it: a number, a time, true or false, None or a text of any length.

    What Excel would change becomes text: numbers of more than fifteen digits, times with a zone, days before 1900.
    """
    match value:
        case None | bool():
            return value
        case int():
            return value if abs(value) < _EXACT_INTEGER else str(value)
        case float() | Decimal():
            return value if math.isfinite(value) else str(value)
        case datetime():
            return value if value.tzinfo is None and value.year >= _FIRST_YEAR else value.isoformat()
        case date():
            return value if value.year >= _FIRST_YEAR else value.isoformat()
        case _:
            return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", csv_value(value))
