"""A job by batch on a virtual clock, by the code that decides it in a run: how much room a file has, when a batch is due.

The provider takes batches as long as their input tokens fit the enqueued limit, and answers each after the same time.
"""

import math
from dataclasses import dataclass, replace
from decimal import Decimal

from promptmill.batch.policy import BatchView, Collect, first_step, judge, room_left
from promptmill.batch.record import BatchRecord, LedgerState
from promptmill.batch.services import service_at
from promptmill.job.spec import Batch

_DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Queue:
    """Rows, and how a provider takes them."""

    rows: int
    tokens: int  # of a row's input
    line_bytes: int  # of a row in a batch file
    enqueued_tokens: int
    batch_seconds: float  # from a batch's creation to its end
    step_seconds: float  # between two steps of `advance-batches`


@dataclass(frozen=True, slots=True)
class Waves:
    """What it took."""

    seconds: float
    batches: int
    most_live: int
    steps: int
    looks: int  # requests to the provider about batches that are live
    objects_read: int  # of the ledger, over all steps


def run_batches(queue: Queue) -> Waves:
    """Submit and collect until every row is answered."""
    settings = Batch.model_validate({"enqueued_tokens": queue.enqueued_tokens, "canary_rows": 0})
    service, state = service_at("https://api.openai.com/v1"), LedgerState()
    live: list[BatchRecord] = []
    now, left, batches, most_live, steps, looks, read = 0.0, queue.rows, 0, 0, 0, 0, 0
    while left or live:
        steps, looks, read = steps + 1, looks + len(live), read + batches
        live = [record for record in live if not _is_over(record, now, queue)]
        while left and (room := room_left(settings, service, state, live, Decimal(0), None)) is not None:
            fits = queue.rows if room.tokens is None else room.tokens // queue.tokens
            rows = min(left, room.requests, room.bytes // queue.line_bytes, fits)
            if not rows:
                break
            record = BatchRecord(
                str(batches), rows, rows * queue.line_bytes, rows * queue.tokens, Decimal(0), now, "submitted"
            )
            live.append(replace(record, batch_id=record.key))
            left, batches = left - rows, batches + 1
        most_live, quiet = max(most_live, len(live)), _quiet_steps(live, now, queue)
        steps, looks, read = steps + quiet, looks + quiet * len(live), read + quiet * batches
        now += (quiet + 1) * queue.step_seconds
    return Waves(now - queue.step_seconds, batches, most_live, steps, looks, read)


def _quiet_steps(live: list[BatchRecord], now: float, queue: Queue) -> int:
    """How many steps bring no news: until the first batch ends, each decides the same."""
    first = min((record.packed_at + queue.batch_seconds for record in live), default=now)
    return max(0, math.ceil((first - now) / queue.step_seconds) - 1)


def _is_over(record: BatchRecord, now: float, queue: Queue) -> bool:
    """Whether a step collects the batch."""
    assert first_step(record, now) == "look"
    is_done = now - record.packed_at >= queue.batch_seconds
    ends, status = record.packed_at + _DAY_SECONDS, "completed" if is_done else "in_progress"
    file = record.key if is_done else ""
    count = record.requests if is_done else 0
    view = BatchView(
        record.batch_id, status, record.key, file, "", count, 0, record.requests, record.packed_at, ends, record.key
    )
    return isinstance(judge(record, view, now, queue.step_seconds, is_alone=False), Collect)
