"""Some rows of a source, as a source: a sample that is drawn from a whole dataset reads these and no others."""

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from promptmill.dataset.dataset import Source


class DrawnRows:
    """The rows with these numbers, which are sorted; row 0 of it is the first of them."""

    def __init__(self, source: "Source", numbers: Sequence[int]) -> None:
        self.schema = source.schema
        self.notes = source.notes
        self.has_marks = source.has_marks
        self._source = source
        self._numbers = numbers
        self.rows = len(numbers)

    def blocks(self, columns: list[str], start: int, tries: Collection[str] = ()) -> Iterator[pa.Table]:
        """As Source has it; reading ends with the last of the rows."""
        wanted = self._numbers[start:]
        if not wanted:
            return
        at, done = wanted[0], 0
        for block in self._source.blocks(columns, at, tries):
            stop = bisect_left(wanted, at + block.num_rows)
            found = [block.slice(number - at, 1) for number in wanted[done:stop]]
            at, done = at + block.num_rows, stop
            if found:
                yield pa.concat_tables(found)
            if done == len(wanted):
                return
