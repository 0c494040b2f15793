"""Where the line of each row is in a batch's result files, and what the files hold besides.

Result files are as large as all answers together, so only places are held in memory: 9 bytes a row.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptmill.batch.files import Line, decode_line
from promptmill.checkpoints.index import hash_custom_id

_REFUSED = range(400, 500)


@dataclass(frozen=True, slots=True)
class Places:
    """Where the line of each row is; -1 = nowhere."""

    files: Sequence[Path]
    numbers: NDArray[np.int8]  # of the file
    offsets: NDArray[np.int64]
    unreadable: int  # lines that are torn
    foreign: int  # lines of rows that aren't in this batch
    answered: int = 0  # lines that say of themselves that they were answered
    refused: int = 0  # lines with an HTTP error of the request's own
    is_cut: bool = False  # a file ends in the middle of a line

    @property
    def given(self) -> int:
        """Lines that are there, torn ones included."""
        return len(self.numbers) - self.missing + self.unreadable - self.is_cut

    @property
    def missing(self) -> int:
        """Rows without a line."""
        return int((self.numbers < 0).sum())


def find_lines(files: Sequence[Path], ids: NDArray[np.uint64]) -> Places:
    """The line of each row; where a row has several, the first in the first file that has any."""
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    numbers, offsets = np.full(len(ids), -1, np.int8), np.zeros(len(ids), np.int64)
    unreadable = foreign = answered = refused = 0
    is_cut = False
    for number, path in enumerate(files):
        for offset, line, is_ended in _lines(path):
            if line is None:
                unreadable += 1
                is_cut = is_cut or not is_ended
                continue
            found = int(np.searchsorted(ordered, np.uint64(hash_custom_id(line.custom_id))))
            if found == len(ids) or int(ordered[found]) != hash_custom_id(line.custom_id):
                foreign += 1
                continue
            place = int(order[found])
            if numbers[place] < 0:
                numbers[place], offsets[place] = number, offset
                answered += line.is_answered
                refused += line.status in _REFUSED
    return Places(files, numbers, offsets, unreadable, foreign, answered, refused, is_cut)


def _lines(path: Path) -> Iterator[tuple[int, Line | None, bool]]:
    """Where each line begins, what it says, and whether a line break ends it."""
    with path.open("rb", 1 << 20) as file:
        offset = 0
        for line in file:
            if line.strip():
                yield offset, decode_line(line), line.endswith(b"\n")
            offset += len(line)
