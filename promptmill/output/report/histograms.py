"""What a report counts with: histograms and a timeline, which take any number of values in a fixed amount of memory.

Bins have a constant ratio, 100 to the decade, so that a quantile is off by 1.2 % at most, from milliseconds to hours.
The timeline starts with buckets of a quarter of a second and doubles their width whenever they become too many; their
edges are multiples of the width since the epoch, so that doubling merges whole buckets, in whatever order values come.
"""

from collections import defaultdict
from dataclasses import dataclass
from math import ceil, log10

import numpy as np
from numpy.typing import NDArray

_BINS_PER_DECADE = 100
_FIRST_BUCKET_SECONDS = 0.25
_MAX_BUCKETS = 480

Floats = NDArray[np.float64]


class LogHistogram:
    """Counts of values between two positive bounds; the bins at the ends count what lies outside them, and zero."""

    def __init__(self, low: float, high: float) -> None:
        self._low = low
        self._counts = np.zeros(ceil(log10(high / low) * _BINS_PER_DECADE) + 2, np.int64)
        self.count = 0
        self.total = 0.0
        self.smallest = float("inf")
        self.largest = 0.0

    def add(self, values: Floats) -> None:
        """Count values."""
        if not len(values):
            return
        decades = np.log10(np.maximum(values, self._low / 10) / self._low)
        places = np.clip(np.floor(decades * _BINS_PER_DECADE).astype(np.int64) + 1, 0, len(self._counts) - 1)
        self._counts += np.bincount(places, minlength=len(self._counts))
        self.count += len(values)
        self.total += float(values.sum())
        self.smallest = min(self.smallest, float(values.min()))
        self.largest = max(self.largest, float(values.max()))

    @property
    def mean(self) -> float:
        """Mean of all values, exact; 0 when there are none."""
        return self.total / self.count if self.count else 0.0

    def quantile(self, share: float) -> float:
        """The value at or below which this share of the values lies, within 1.2 %; 0 when there are none."""
        if not self.count:
            return 0.0
        place = int(np.searchsorted(np.cumsum(self._counts), share * self.count))
        middle = self._low * 10 ** ((place - 0.5) / _BINS_PER_DECADE) if place else 0.0
        return min(max(middle, self.smallest), self.largest)

    def bars(self, most: int) -> tuple[Floats, NDArray[np.int64]]:
        """Edges and counts of at most `most` bars over the range that has values; values below the low bound are left out."""
        filled = np.flatnonzero(self._counts[1:]) + 1
        if not len(filled):
            return np.array([self._low, self._low * 10]), np.zeros(1, np.int64)
        first, last = int(filled[0]), int(filled[-1]) + 1
        step = ceil((last - first) / most)
        starts = np.arange(first, last, step)
        edges = self._low * 10 ** ((np.append(starts, starts[-1] + step) - 1) / _BINS_PER_DECADE)
        return edges, np.add.reduceat(self._counts[:last], starts)


@dataclass(frozen=True, slots=True)
class Series:
    """The timeline as arrays, a bucket each, gaps filled with zeros."""

    seconds: Floats  # since the first bucket's start, of each bucket's end
    minutes: Floats  # how long each bucket lasted
    rows: Floats
    attempts: Floats
    tokens: Floats
    cost_usd: Floats


class Timeline:
    """Rows, attempts, tokens and money by the time of the answer."""

    def __init__(self) -> None:
        self.width = _FIRST_BUCKET_SECONDS
        self._buckets: dict[int, Floats] = defaultdict(lambda: np.zeros(4))
        self._last_at = 0.0

    def add(self, answered_at: Floats, attempts: Floats, tokens: Floats, cost_usd: Floats) -> None:
        """Count rows; each array has a value for each row."""
        if not len(answered_at):
            return
        self._last_at = max(self._last_at, float(answered_at.max()))
        places, inverse = np.unique(np.floor(answered_at / self.width).astype(np.int64), return_inverse=True)
        for column, values in enumerate((np.ones(len(answered_at)), attempts, tokens, cost_usd)):
            for place, amount in zip(places.tolist(), np.bincount(inverse, values).tolist(), strict=True):
                self._buckets[place][column] += amount
        while max(self._buckets) - min(self._buckets) >= _MAX_BUCKETS:
            self._double()

    def _double(self) -> None:
        merged: dict[int, Floats] = defaultdict(lambda: np.zeros(4))
        for place, amounts in self._buckets.items():
            merged[place // 2] += amounts
        self._buckets = merged
        self.width *= 2

    def series(self, most: int) -> Series | None:
        """At most `most` buckets over the whole time; the last one ends with the last answer. None if there was no answer."""
        if not self._buckets:
            return None
        first, last = min(self._buckets), max(self._buckets) + 1
        step = ceil((last - first) / most)
        table = np.zeros((ceil((last - first) / step), 4))
        for place, amounts in self._buckets.items():
            table[(place - first) // step] += amounts
        width = step * self.width
        seconds = (width * np.arange(1, len(table) + 1)).astype(np.float64)
        lasted = max(self._last_at - first * self.width - width * (len(table) - 1), width / 4)
        minutes = np.full(len(table), width / 60, np.float64)
        minutes[-1], seconds[-1] = lasted / 60, seconds[-1] - width + lasted
        return Series(seconds, minutes, table[:, 0], table[:, 1], table[:, 2], table[:, 3])
