"""Whether rows that are asked online will be answered by a run's deadline."""

import math
import time

from promptmill.checkpoints.deadline_record import DeadlineRecord
from promptmill.job.spec import Job
from promptmill.provider.tiers import Tiers, tiers_of
from promptmill.runs.progress import Progress

MARGIN = 1.5  # times the time online: a provider may be slower by a third than it was when the run began


def needed_seconds(rows: int, rows_per_second: float) -> float:
    """How long so many rows take online, with the margin. Pure."""
    return math.inf if rows_per_second <= 0 else rows / rows_per_second * MARGIN


def _is_late_for_flex(record: DeadlineRecord, left: int, attempt_seconds: float, now: float) -> bool:
    """Whether the rows left must be asked at the standard tier now; `now` in seconds since the epoch. Pure.

    A row at the flex tier may wait as long as an attempt takes, and is then asked once more.
    """
    needed = needed_seconds(left, record.rows_per_second or 0.0) + attempt_seconds
    return now + needed > record.at.timestamp()


def tiers_in_time(job: Job, record: DeadlineRecord | None, progress: Progress) -> Tiers | None:
    """The choice between a job's tiers, which is over once the run's deadline leaves no time for flex; None: no choice."""
    tiers, seconds = tiers_of(job), job.attempt_seconds
    if tiers is not None and record is not None:
        tiers.is_late = lambda: _is_late_for_flex(record, progress.total - progress.done, seconds, time.time())
    return tiers
