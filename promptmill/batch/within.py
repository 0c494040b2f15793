"""Decides until when a run with a deadline leaves its rows to batches. Pure: no clock, no I/O.

Batches cost half, and nobody knows when they end. So rows stay in them while the run could still ask all remaining rows
online before the deadline. The run asks a row online only after its batch is over, and a cancelled batch may take ten
minutes to end (OpenAI's Batch guide: `cancelling` lasts up to 10 minutes, and the answers so far are delivered and billed;
read 2026-11-28). The plan keeps time for these minutes, for the looks at the batches, and a margin on the time online.
"""

from dataclasses import dataclass
from typing import Literal

from promptmill.runs.online_pace import needed_seconds

CANCEL_SECONDS = 600.0
START_SECONDS = 60.0  # to collect files, open the engine and find its pace, until the first row is on its way
LEAST_BATCH_SECONDS = 600.0  # a batch with less time isn't worth submitting
_PROBE_SHARE = 100  # the run asks one row in this many online first, to measure the pace
_LEAST_PROBE, _MOST_PROBE = 4, 200  # rows

Step = Literal["submit", "wait", "move"]


@dataclass(frozen=True, slots=True)
class Moment:
    """A run with a deadline at one moment; times are seconds since the epoch."""

    now: float
    deadline: float
    left: int  # unanswered rows, as far as the provider tells
    rows_per_second: float  # online
    look_seconds: float  # until the next look at the batches
    has_batches: bool  # batches under way at the provider


def move_at(moment: Moment) -> float:
    """The last moment to cancel all batches and ask the rows left online."""
    online = needed_seconds(moment.left, moment.rows_per_second) + START_SECONDS
    return moment.deadline - online - CANCEL_SECONDS - 2 * moment.look_seconds


def next_step(moment: Moment) -> Step:
    """The next step: submit batches, only wait for the live ones, or move the remaining rows online."""
    if moment.left <= 0 and moment.has_batches:
        return "wait"  # the provider is writing results, so no row is left to ask
    left_seconds = move_at(moment) - moment.now
    if left_seconds >= LEAST_BATCH_SECONDS:
        return "submit"
    return "wait" if moment.has_batches and left_seconds > 0 else "move"


def is_hopeless(moment: Moment) -> bool:
    """Whether online alone would miss the deadline too, even without any margin."""
    rate = moment.rows_per_second
    return moment.left > 0 and (rate <= 0 or moment.now + moment.left / rate > moment.deadline)


def probe_rows(rows: int) -> int:
    """How many of all rows are asked online first."""
    return min(rows, _MOST_PROBE, max(_LEAST_PROBE, rows // _PROBE_SHARE))


def seen_rate(rows: int, seconds: float, in_flight: int, limited_minutes: float | None) -> float | None:
    """Rows a second that the run answers online; None if no row was asked.

    `rows` took `seconds`. `in_flight` rows may be under way at once now. The limits a minute alone would have allowed these
    rows in `limited_minutes`.
    """
    if rows <= 0:
        return None
    at_once = max(1.0, in_flight / rows)  # a few rows use only a few of the places
    slowest = max(seconds / at_once, 60 * (limited_minutes or 0.0), 1e-6)
    return rows / slowest
