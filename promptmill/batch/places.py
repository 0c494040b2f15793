"""Finds the line of each row in a batch's result files, and counts the other lines.

Result files are as large as all answers together, so memory holds only the lines' places: 9 bytes a row.
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
    """The place of each row's line; -1: the row has no line."""

    files: Sequence[Path]
    numbers: NDArray[np.int8]  # number of the file
    offsets: NDArray[np.int64]
    unreadable: int  # torn lines
    foreign: int  # lines of rows that aren't in this batch
    answered: int = 0  # lines that say that their row was answered
    refused: int = 0  # lines with an HTTP error for the request itself
    is_cut: bool = False  # a file ends in the middle of a line

    @property
    def given(self) -> int:
        """Lines in the files, torn ones included."""
        return len(self.numbers) - self.missing + self.unreadable - self.is_cut

    @property
    def missing(self) -> int:
        """The rows without a line."""
        return int((self.numbers < 0).sum())


def find_lines(files: Sequence[Path], ids: NDArray[np.uint64]) -> Places:
    """The line of each row. If a row has several, take the first line of the first file that has one."""
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
    """For each line: its offset in bytes, its text, and whether a line break ends it."""
    with path.open("rb", 1 << 20) as file:
        offset = 0
        for line in file:
            if line.strip():
                yield offset, decode_line(line), line.endswith(b"\n")
            offset += len(line)
