"""Until when a run with a deadline may leave its rows to batches. Pure: no clock, no I/O.

Batches cost half, and nobody knows when they end. So rows stay in them for as long as all that is left could still be asked
online before the deadline. A row is asked online only once its batch is over, and a cancelled batch may take ten minutes to
end (OpenAI's Batch guide: `cancelling` lasts up to 10 minutes; what was answered by then is delivered and billed; read
2026-11-28). These minutes, the looks at the batches and a margin on the time online are kept free.
"""

from dataclasses import dataclass
from typing import Literal

from promptmill.runs.online_pace import needed_seconds

CANCEL_SECONDS = 600.0
START_SECONDS = 60.0  # until the first row is on its way: files collected, the engine opened, its pace found
LEAST_BATCH_SECONDS = 600.0  # that a batch must have before it is worth submitting
_PROBE_SHARE = 100  # one row in so many is asked online first, to see how fast that goes
_LEAST_PROBE, _MOST_PROBE = 4, 200  # rows

Step = Literal["submit", "wait", "move"]


@dataclass(frozen=True, slots=True)
class Moment:
    """A run with a deadline at one moment; times are seconds since the epoch."""

    now: float
    deadline: float
    left: int  # rows that nobody has answered, as far as the provider tells
    rows_per_second: float  # online
    look_seconds: float  # until the next look at the batches
    has_batches: bool  # under way at the provider


def move_at(moment: Moment) -> float:
    """The last moment to cancel all batches and ask the rows left online."""
    online = needed_seconds(moment.left, moment.rows_per_second) + START_SECONDS
    return moment.deadline - online - CANCEL_SECONDS - 2 * moment.look_seconds


def next_step(moment: Moment) -> Step:
    """Submit batches, only wait for those under way, or move what is left online."""
    if moment.left <= 0 and moment.has_batches:
        return "wait"  # results are being written; there is nothing to ask for
    left_seconds = move_at(moment) - moment.now
    if left_seconds >= LEAST_BATCH_SECONDS:
        return "submit"
    return "wait" if moment.has_batches and left_seconds > 0 else "move"


def is_hopeless(moment: Moment) -> bool:
    """Whether online alone isn't likely to be done in time either: without any margin it takes longer."""
    rate = moment.rows_per_second
    return moment.left > 0 and (rate <= 0 or moment.now + moment.left / rate > moment.deadline)


def probe_rows(rows: int) -> int:
    """How many rows are asked online first, of so many in all."""
    return min(rows, _MOST_PROBE, max(_LEAST_PROBE, rows // _PROBE_SHARE))


def seen_rate(rows: int, seconds: float, in_flight: int, limited_minutes: float | None) -> float | None:
    """Rows a second that the run answers online; None where no row was asked.

    `rows` took `seconds`; `in_flight` may be asked at once now; at the limits a minute they would have taken `limited_minutes`.
    """
    if rows <= 0:
        return None
    at_once = max(1.0, in_flight / rows)  # a few rows leave most places empty
    slowest = max(seconds / at_once, 60 * (limited_minutes or 0.0), 1e-6)
    return rows / slowest
