"""Remembers the input tokens of planned rows, since to count them again takes half of a row's second rendering."""

import zlib
from array import array
from collections.abc import Sequence

from promptmill.planning.rendering import Unrendered
from promptmill.records import Request

_MOST_BYTES = 4 << 20  # about two bytes a row, so of the first million rows or two; later rows are counted again
_FASTEST = 1


class TokenCounts:
    """Tokens of the rows of chunks, by the number of the chunk's first row. One thread may keep while others take."""

    def __init__(self) -> None:
        self._kept: dict[int, bytes] = {}
        self._bytes = 0

    def keep(self, start: int, rendered: Sequence[Request | Unrendered]) -> None:
        """Remember a chunk's counts, if there is room."""
        counts = [row.input_tokens if isinstance(row, Request) else 0 for row in rendered]
        packed = zlib.compress(array("Q", counts), _FASTEST)
        if self._bytes + len(packed) <= _MOST_BYTES:
            self._bytes += len(packed)
            self._kept[start] = packed

    def of(self, start: int, rows: int) -> Sequence[int]:
        """The counts of a chunk, 0 for a row that must be counted; empty if they aren't remembered."""
        packed = self._kept.get(start)
        if packed is None:
            return ()
        counts = array("Q", zlib.decompress(packed))
        return counts if len(counts) == rows else ()
