"""Rows that can't be read, kept in their places: a column of our own says why, beside the columns of the input.

Arrow leaves out a CSV row with too many or too few fields, and tells its number in the file (seen with 26.0.1 with headers,
blank lines, quoted line breaks and every size of blocks; tests/promptmill/dataset/test_unreadable.py). So `Gaps` knows where
a row of nulls belongs. A value that isn't of the type that the job asks for is null as well, and its row can't be read.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from promptmill.dataset.text_types import cast_texts
from promptmill.shorten import shorten

UNREADABLE = "\0unreadable"  # the name of the column
UNREADABLE_TYPE = pa.struct([("reason", pa.string()), ("raw", pa.string())])  # null where the row can be read
MOST_RAW = 1 << 20  # characters of a row that a failure keeps
_MOST_HELD = 64 << 20  # characters of rows in a sequence that can't be read, which wait for the next one that can
NAMED = 3  # rows of a wrong input that an error names


@dataclass(frozen=True, slots=True)
class BadRow:
    """Why a row can't be read."""

    reason: str
    raw: str  # the row, or the value that doesn't fit its column's type


def marks(rows: int, bad: Mapping[int, BadRow]) -> pa.Array:
    """The column for a block of rows, of which those at these places can't be read."""
    if not bad:
        return pa.nulls(rows, UNREADABLE_TYPE)
    found = [bad.get(place) for place in range(rows)]
    values = [None if row is None else {"reason": row.reason, "raw": shorten(row.raw, MOST_RAW)} for row in found]
    return pa.array(values, UNREADABLE_TYPE)


def cast_fitting(values: pa.Array, kind: pa.DataType) -> tuple[pa.Array, list[int]]:
    """The values in another type, and the places of those that don't fit it, which are null."""
    found = cast_texts(values, kind)
    if found is not None:
        return found, []
    if len(values) == 1:
        return pa.nulls(1, kind), [0]
    half = len(values) // 2
    left, wrong_left = cast_fitting(values.slice(0, half), kind)
    right, wrong_right = cast_fitting(values.slice(half), kind)
    return pa.concat_arrays([left, right]), [*wrong_left, *(half + place for place in wrong_right)]


def misfit_reason(shown: str, place: str, column: str, text: str, asked: object) -> str:
    """What is wrong with a value of a file; `place` names its row, as far as the row's number is known."""
    return f"{shown} has {shorten(text, 80)!r} in {place}column {column!r}, which is no {asked} (input.types)"


def refusal(reasons: Iterable[str], count: int) -> str:
    """What an error says of an input with rows that can't be read; it names the first of them."""
    named = list(reasons)[:NAMED]
    others = f" So are {count - 1:,} other rows of the input, such as: {'; '.join(named[1:])}." if count > 1 else ""
    return f"{named[0]}.{others} Fix them, or set input.on_bad_row to skip, which makes each a failure of its own."


class Gaps:
    """Puts the rows that Arrow leaves out of a file back to their places, as rows of nulls."""

    def __init__(self, first: int) -> None:
        """`first` is the number of the first row with values, as Arrow counts."""
        self._next = first
        self._held: deque[pacsv.InvalidRow] = deque()
        self._characters = 0
        self.count = 0
        self.first: list[pacsv.InvalidRow] = []
        self.is_too_much = False

    def note(self, row: pacsv.InvalidRow) -> Literal["error", "skip"]:
        """Take down a row that Arrow can't read; tells Arrow whether to go on."""
        self.count += 1
        if len(self.first) < NAMED:
            self.first.append(row)
        self._held.append(row)
        self._characters += len(row.text)
        self.is_too_much = self._characters > _MOST_HELD
        return "error" if self.is_too_much else "skip"

    def fill(self, block: pa.RecordBatch) -> tuple[pa.RecordBatch, dict[int, pacsv.InvalidRow]]:
        """The block with a row of nulls for each row that is missing in it or directly behind it, and these by place."""
        missing: dict[int, pacsv.InvalidRow] = {}
        while self._held and (self._held[0].number or 0) - self._next <= block.num_rows + len(missing):
            row = self._held.popleft()
            missing[(row.number or 0) - self._next] = row
            self._characters -= len(row.text)
        self._next += block.num_rows + len(missing)
        if not missing:
            return block, missing
        before = [place - count for count, place in enumerate(missing)]
        places = np.insert(np.arange(block.num_rows), before, -1)
        return block.take(pa.array(places, mask=places < 0)), missing
