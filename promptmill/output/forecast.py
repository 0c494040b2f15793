"""What was measured before a run, and how the run compares with it: parts of a manifest. Pure.

A sample's manifest says what its rows took, with an interval for the mean of a row. A run's manifest has a scorecard: what
was estimated, what it took, and where the difference comes from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import AwareDatetime, Field

_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
LEVEL = "90 %"  # how often an interval is meant to hold
_SMALL_SHARE = 0.02  # of the estimate: a smaller difference needs no reason


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure, and between what it is expected to lie."""

    low: _Amount
    mean: _Amount
    high: _Amount

    def times(self, factor: float) -> "Interval":
        """The interval of so many times the figure."""
        return Interval(self.low * factor, self.mean * factor, self.high * factor)

    def holds(self, actual: float) -> bool:
        """Whether it contains a figure, but for what rounding makes of it."""
        slack = 1e-9 * max(1.0, abs(actual))
        return self.low - slack <= actual <= self.high + slack


@dataclass(frozen=True, slots=True)
class Measured:
    """What the asked rows of a sample took."""

    rows: Annotated[int, Field(ge=0)]  # that were asked
    planned_input_tokens: Annotated[int, Field(ge=0)]  # of these rows, as counted before
    output_tokens: Interval  # of a row
    seconds: Interval | None  # to a row's answer; None where none was answered


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a whole run takes, going by a sample."""

    sample_rows: Annotated[int, Field(ge=0)]
    sampled_at: AwareDatetime
    input_tokens: _Amount  # as the provider counts them
    cost_usd: Interval
    batch_usd: Interval
    output_tokens: Interval
    failures: Interval
    minutes: Interval | None  # at the job's limits; None where it sets none


@dataclass(frozen=True, slots=True)
class Score:
    """One figure of a run: estimated and actual."""

    name: str  # cost in USD, output tokens, failures
    estimated: Interval
    actual: _Amount

    @property
    def is_inside(self) -> bool:
        """Whether the estimate held."""
        return self.estimated.holds(self.actual)


@dataclass(frozen=True, slots=True)
class Scorecard:
    """How a run compares with the estimate that was made before it."""

    sample_rows: Annotated[int, Field(ge=0)]
    scores: tuple[Score, ...]
    reasons: tuple[str, ...] = ()  # for the difference in cost, the largest first


def reasons_for(causes: Sequence[tuple[str, str, float]], estimated: float) -> tuple[str, ...]:
    """Why a cost differs from its estimate: of causes, each with a text for more, one for less and the USD that it adds,
    those that add or save at least a fiftieth of the estimate.
    """
    least = _SMALL_SHARE * max(estimated, 1e-12)
    named = sorted(causes, key=lambda cause: -abs(cause[2]))
    return tuple(
        f"{more}: ${added:,.4f} more" if added > 0 else f"{less}: ${-added:,.4f} less"
        for more, less, added in named
        if abs(added) >= least
    )
