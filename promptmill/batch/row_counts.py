"""Counts how often each row is in some batches, by the hashes in the ledger."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray


class RowCounts:
    """How often each row is in some batches. Memory: 8 bytes for each time."""

    def __init__(self, ids: Iterable[NDArray[np.uint64]]) -> None:
        self._sorted = np.sort(np.concatenate([np.empty(0, np.uint64), *ids]))

    def of(self, hashes: Sequence[int]) -> NDArray[np.int64]:
        """The count of each row, in the order of the hashes."""
        wanted = np.fromiter(hashes, np.uint64, len(hashes))
        return np.searchsorted(self._sorted, wanted, "right") - np.searchsorted(self._sorted, wanted, "left")
