"""Decides whether a large job first tries a few rows in a small batch of their own. Pure.

If the model refuses a parameter, we learn it only when the provider runs the lines, perhaps a day after we submitted
50,000 of them. The few rows go out by batch and not online, because batches have their own deployments, models and limits.
Their answers cost the same as all others.
A provider may be slow with a small batch too, so the rest waits for an hour at most.
"""

from collections.abc import Sequence
from typing import Literal

from promptmill.batch.ledger import BatchRecord

_SMALL_JOB_ROWS = 200  # rows; a job with this many or fewer goes out at once
_LONGEST_WAIT_SECONDS = 3_600.0

Turn = Literal["canary", "wait", "rest"]


def turn_of(canary_rows: int, rows: int, records: Sequence[BatchRecord], now: float, *, has_answers: bool) -> Turn:
    """What is submitted next: the few rows, nothing until they are back, or the rest.

    `rows` are those of the whole job, `records` the batches of this run that weren't dropped; `has_answers` says whether
    earlier runs of the job left some.
    """
    if canary_rows == 0 or rows <= _SMALL_JOB_ROWS or has_answers:
        return "rest"
    counting = [record for record in records if not record.is_halted]
    if not counting:
        return "canary"
    if not all(record.is_canary and record.is_live for record in counting):
        return "rest"
    return "wait" if now - min(record.packed_at for record in counting) < _LONGEST_WAIT_SECONDS else "rest"
