"""Between what the mean of a row lies, going by a sample: the studentized bootstrap over rows. Pure.

Lengths of answers are skewed: most are short, a few are very long. A plain bootstrap of 20 such rows contains the true mean
in 75 to 85 of 100 cases where 90 are meant, the studentized one in 85 to 92 (tests/promptmill/planning/test_intervals.py).
Source of the method: Efron and Tibshirani, An Introduction to the Bootstrap, chapter 12.
"""

import math

import numpy as np
from numpy.typing import NDArray

from promptmill.output.forecast import Interval

_DRAWS = 2_000
_TAIL = 0.035  # on either side; with 0.05 the intervals of skewed rows hold in 82 to 91 of 100 cases
_Z = 1.6449  # of the normal distribution at 0.05 on either side
_WIDEST = 10.0  # times the mean: few rows can make the bootstrap say nothing


def mean_interval(values: NDArray[np.float64], most: float | None = None) -> Interval | None:
    """The mean and its 90 % interval; None without values. `most`: a bound that no value can pass. The same each time."""
    if not len(values):
        return None
    mean = float(values.mean())
    if len(values) == 1 or float(values.std()) == 0:
        return Interval(mean, mean, mean)
    random = np.random.default_rng(len(values))
    drawn = random.choice(values, (_DRAWS, len(values)))
    error, errors = _standard_error(values[None, :])[0], _standard_error(drawn)
    told = errors > 0
    below, above = np.quantile((drawn.mean(axis=1)[told] - mean) / errors[told], (_TAIL, 1 - _TAIL))
    low = max(float(values.min()), mean - float(above) * float(error))
    high = min(mean - float(below) * float(error), _WIDEST * mean, math.inf if most is None else most)
    return Interval(min(low, mean), mean, max(high, mean))


def of_the_whole(interval: Interval, sampled: int, whole: int) -> Interval:
    """The interval of the mean over all rows, of which the sampled ones are known: narrower, the larger their share is.

    If the sample has more rows than the whole, it is of other rows, so that none of these is known.
    """
    left = math.sqrt(1 - sampled / whole) if 0 < sampled <= whole else 1.0
    mean = interval.mean
    return Interval(mean - (mean - interval.low) * left, mean, mean + (interval.high - mean) * left)


def share_interval(count: int, sampled: int, whole: int) -> Interval:
    """How many of all rows fail, if so many of the sampled ones did: Wilson's interval.

    If the sample has more rows than the whole, it is of other rows, so that none of these is known.
    """
    if not sampled:
        return Interval(0, 0, whole)
    share = count / sampled
    spread = _Z * math.sqrt(share * (1 - share) / sampled + _Z**2 / (4 * sampled**2))
    low, high = ((share + _Z**2 / (2 * sampled) + sign * spread) / (1 + _Z**2 / sampled) for sign in (-1, 1))
    known, rest = (count, whole - sampled) if sampled <= whole else (0, whole)
    return Interval(known + rest * max(0.0, low), share * whole, known + rest * min(1.0, high))


def _standard_error(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows.std(axis=1, ddof=1) / math.sqrt(rows.shape[1])
