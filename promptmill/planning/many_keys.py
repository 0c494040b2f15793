"""Rows whose keys are equal, found among any number of rows in bounded memory.

A key has 128 bits. 65,536 rows stay in memory. More go to a temporary file without a name, in blocks that are ordered by
a byte mixed from the key: equal keys have the same byte, so that one part of 256 is looked at after another. Of 100 million
rows a part has 400,000, which is 11 MB.
"""

import tempfile
from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np
from numpy.typing import NDArray

from promptmill.errors import DatasetError

Key = NDArray[np.uint64]  # one half of the keys of many rows
_ROW = np.dtype([("high", "<u8"), ("low", "<u8"), ("number", "<u8"), ("amount", "<u4")])
HELD_ROWS = 1 << 16
_PARTS = 256
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio: neighbours get bytes far apart (Knuth, 6.4)


class ManyKeys:
    """The keys of rows, 28 bytes each; add all, then look at those that repeat."""

    def __init__(self, held_rows: int = HELD_ROWS) -> None:
        """`held_rows`: how many stay in memory."""
        self._most = held_rows
        self._held: list[NDArray[np.void]] = []
        self._held_rows = 0
        self._file: IO[bytes] | None = None
        self._blocks: list[
            NDArray[np.int64]
        ] = []  # of the file: where each part begins, in rows, and where the last ends

    def add(self, high: Key, low: Key, numbers: Sequence[int] | NDArray[np.int64], amounts: Sequence[int] = ()) -> None:
        """The next rows; `amounts` belong to them and come back with them. Raises: DatasetError when the disk is full."""
        block = np.zeros(len(high), _ROW)
        block["high"], block["low"], block["number"] = high, low, numbers
        if len(amounts):
            block["amount"] = amounts
        self._held.append(block)
        self._held_rows += len(block)
        if self._held_rows >= self._most:
            self._put_aside()

    def repeated(self) -> Iterator[tuple[NDArray[np.void], NDArray[np.bool_]]]:
        """Rows that have the key of another row, a part of all at a time: `number` and `amount`, and who is its key's first.

        Rows with one key follow each other in the order of their numbers.
        """
        for part in filter(len, self._parts()):
            found = part[np.lexsort((part["number"], part["low"], part["high"]))]
            is_next = (found["high"][1:] == found["high"][:-1]) & (found["low"][1:] == found["low"][:-1])
            is_later, has_later = np.append(False, is_next), np.append(is_next, False)
            chosen = is_later | has_later
            yield found[chosen], ~is_later[chosen]

    @property
    def nbytes(self) -> int:
        """The bytes that are held in memory."""
        return sum(block.nbytes for block in (*self._held, *self._blocks))

    def _put_aside(self) -> None:
        block = np.concatenate(self._held)
        part = ((block["high"] ^ block["low"]) * _MIX) >> np.uint64(56)
        ends = np.cumsum(np.bincount(part.astype(np.int64), minlength=_PARTS))
        first = self._blocks[-1][-1] if self._blocks else 0
        try:
            self._file = self._file or tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the keys
            self._file.write(block[np.argsort(part.astype(np.uint8), kind="stable")].view(np.uint8).data)
        except OSError as error:
            raise DatasetError(
                f"{tempfile.gettempdir()} takes no more of what is kept to find equal rows, 28 bytes a row ({error}). Free "
                "space there, or set TMPDIR to a folder with more."
            ) from error
        self._blocks.append(np.append(0, ends) + first)
        self._held, self._held_rows = [], 0

    def _parts(self) -> Iterator[NDArray[np.void]]:
        """All rows in parts, equal keys in the same one."""
        if self._file is None:
            yield np.concatenate(self._held) if self._held else np.empty(0, _ROW)
            return
        if self._held:
            self._put_aside()
        for part in range(_PARTS):
            yield np.concatenate([self._read(self._file, *block[part : part + 2].tolist()) for block in self._blocks])

    @staticmethod
    def _read(file: IO[bytes], start: int, stop: int) -> NDArray[np.void]:
        file.seek(start * _ROW.itemsize)
        return np.frombuffer(file.read((stop - start) * _ROW.itemsize), _ROW)
