"""Whether a few rows are tried in a batch of their own before a large job's rows go out. Pure.

A parameter that the model refuses shows only when the lines are run, which may be a day after 50,000 of them were
submitted. The few rows go out by batch and not online: a batch has its own deployments, models and limits, so that only a
batch shows whether they are right, and its answers cost what all others cost. A provider may leave a small batch lying too,
so the rest waits for an hour at most.
"""

from collections.abc import Sequence
from typing import Literal

from promptmill.batch.ledger import BatchRecord

_SMALL_JOB_ROWS = 200  # a job of so many rows or fewer goes out at once
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
