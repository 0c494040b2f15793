"""An interval holds as often as it says, over skewed lengths too."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from promptmill.output.forecast import Interval
from promptmill.planning.intervals import mean_interval, of_the_whole, share_interval

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]
LENGTHS: dict[str, Draw] = {
    "alike": lambda random, rows: random.normal(50, 10, rows).clip(1),
    "skewed": lambda random, rows: np.exp(random.normal(4, 0.6, rows)),
    "very-skewed": lambda random, rows: np.exp(random.normal(4, 1.2, rows)),
    "many-short": lambda random, rows: random.gamma(0.7, 80, rows),
    "some-long": lambda random, rows: np.where(random.random(rows) < 0.2, 800, 40).astype(float),
}


def test_intervals_hold_for_about_nine_of_ten_jobs():
    held = {name: sum(_holds(draw, seed) for seed in range(100)) for name, draw in LENGTHS.items()}

    assert 425 <= sum(held.values()) <= 485, held  # 85 to 97 of 100


def _holds(draw: Draw, seed: int) -> bool:
    """Whether the interval that a sample gives contains the total of its job."""
    random = np.random.default_rng(seed)
    rows, sampled = int(random.integers(500, 5_000)), int(random.integers(20, 80))
    lengths = np.ceil(draw(random, rows))
    found = mean_interval(random.choice(lengths, sampled, replace=False))
    assert found is not None
    return of_the_whole(found, sampled, rows).times(rows).holds(float(lengths.sum()))


@pytest.mark.parametrize(
    ("failed", "sampled", "whole"),
    [(0, 20, 1_000), (1, 20, 1_000), (10, 20, 1_000), (20, 20, 1_000), (3, 20, 20), (0, 0, 100)],
)
def test_failures_lie_between_those_seen_and_all(failed: int, sampled: int, whole: int):
    found = share_interval(failed, sampled, whole)

    assert 0 <= found.low <= whole
    assert found.low <= found.high <= whole + 1e-9
    if sampled == whole:
        assert found.low == found.high == failed
    elif sampled:
        assert found.high > failed


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 200))
@example(0, 3, 2)  # a sample of another input, that had more rows
def test_an_interval_lies_between_nothing_and_all_rows_whatever_input_was_sampled(failed: int, passed: int, whole: int):
    found = share_interval(failed, failed + passed, whole)
    mean = of_the_whole(Interval(1.0, 2.0, 4.0), failed + passed, whole)

    assert 0 <= found.low <= found.mean + 1e-9
    assert found.mean <= found.high + 1e-9
    assert found.high <= whole + 1e-9
    assert 1 <= mean.low <= mean.mean <= mean.high <= 4
    assert (mean.low < mean.high) is (whole != failed + passed or not whole)


@given(st.lists(st.floats(0, 1e6), max_size=40), st.integers(1, 10_000))
def test_an_interval_is_finite_and_contains_the_samples_mean(values: list[float], whole: int):
    found = mean_interval(np.array(values, np.float64), most=1e6)
    if found is None:
        assert not values
        return
    found = of_the_whole(found, len(values), max(whole, len(values)))

    assert 0 <= found.low <= found.mean * (1 + 1e-9) and found.mean <= found.high * (1 + 1e-9)
    assert math.isfinite(found.high)
    if whole <= len(values):
        assert found.low == found.mean == found.high
