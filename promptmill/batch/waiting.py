"""Finds the rows that wait for a batch, by a plan's record and the ledger.

A row waits if no batch holds it now, and either no batch has taken it yet or a batch that is over left it unanswered.
The order of events doesn't matter, so a kill between any two writes leaves nothing to repair.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptmill.batch.files import NumberedRequest
from promptmill.batch.ledger import BatchRecord, Ledger
from promptmill.batch.plan_record import PlanRecord, batches_of, settled_digest
from promptmill.batch.row_numbers import ANSWERED, NOWHERE, UNSURE
from promptmill.batch.row_tries import MOST_BOUGHT, bought_at_once
from promptmill.job.spec import Job
from promptmill.planning.plan import Chunk, Plan, needed_columns
from promptmill.planning.prepared_job import Prepared
from promptmill.planning.rows import read_chunks, render_chunk
from promptmill.records import Request


@dataclass(frozen=True, slots=True)
class Waiting:
    """The rows that wait."""

    rows: NDArray[np.bool_]  # for each row of the plan, whether it goes into the next batches
    given_up: bool  # some rows were tried often enough; the next whole plan makes them failures


@dataclass(slots=True)
class _Marks:
    """What the batches of a plan did with each of its rows."""

    taken: NDArray[np.bool_]  # a batch has taken the row, with any result
    held: NDArray[np.bool_]  # a batch has answered the row or still may
    tried: NDArray[np.uint16]
    bought: NDArray[np.uint16]

    @staticmethod
    def of(plan: PlanRecord) -> "_Marks":
        """The marks before the first batch of the plan."""
        taken, held = np.zeros((2, plan.rows), np.bool_)
        tried, bought = np.zeros((2, plan.rows), np.uint16)
        marks = _Marks(taken, held, tried, bought)
        for row, tried, bought in plan.tries:
            marks.tried[row], marks.bought[row] = tried, bought
        return marks

    def add(
        self, record: BatchRecord, rows: NDArray[np.int64], outcomes: NDArray[np.uint8] | None, counts: bool
    ) -> None:
        """Mark a batch's rows. `outcomes` are given if it left lines unanswered; these are tries if the batch `counts`."""
        there = rows != NOWHERE
        self.taken[rows[there]] = True
        if record.state == "dropped":
            return
        is_held = there if outcomes is None else there & (outcomes == ANSWERED)
        self.held[rows[is_held]] = True
        if outcomes is not None and counts:
            self.tried[rows[there & ~is_held]] += 0 if record.is_halted else 1
            self.bought[rows[there & (outcomes == UNSURE)]] += bought_at_once(record)


def find_waiting(plan: PlanRecord, ledger: Ledger, job: Job) -> Waiting | None:
    """The waiting rows; None if the record doesn't know all batches of the ledger, or if one of its files is damaged.

    Raises: StorageFailed.
    """
    if settled_digest(ledger, plan.id) != plan.settled:
        return None
    marks = _Marks.of(plan)
    since = 0.0 if ledger.state.retry_before is None else ledger.state.started_at
    for record in batches_of(ledger, plan.id):
        rows = ledger.numbers(record, plan.id)
        is_partial = record.state == "collected" and record.answered < record.requests
        outcomes = ledger.outcomes(record) if is_partial else None
        if rows is None or (is_partial and outcomes is None) or rows.max(initial=NOWHERE) >= plan.rows:
            return None
        marks.add(record, rows, outcomes, record.packed_at >= since)
    return _waiting(plan, marks, job)


def _waiting(plan: PlanRecord, marks: _Marks, job: Job) -> Waiting:
    is_fresh = ~plan.skipped_rows()
    if not plan.is_exact and marks.taken.any():
        is_fresh[: int(np.flatnonzero(marks.taken)[-1])] = False  # a wave skipped them
    waits = (marks.taken | is_fresh) & ~marks.held
    is_spent = (marks.tried >= submissions_at_most(job)) | (marks.bought >= MOST_BOUGHT)
    return Waiting(waits & ~is_spent, job.batch.leftovers != "online" and bool((waits & is_spent).any()))


def submissions_at_most(job: Job) -> int:
    """How often a row may go into a batch."""
    return job.retry.max_attempts if job.batch.leftovers == "resubmit" else 1


@dataclass(frozen=True, slots=True)
class WaitingRows:
    """The requests of the waiting rows, in the order of the input; renders only chunks that have such rows."""

    prepared: Prepared
    plan: Plan
    waits: NDArray[np.bool_]  # for each row

    def __iter__(self) -> Iterator[NumberedRequest]:
        """Row numbers and requests. Raises: InputChanged if the rows aren't the planned ones; StorageFailed."""
        prepared = self.prepared
        columns = needed_columns(prepared.builder, prepared.job)
        for chunks in self._passes():
            for chunk, table in read_chunks(prepared.dataset, prepared.job, self.plan, chunks, columns):
                rendered = render_chunk(prepared.builder, prepared.job, self.plan, chunk, table)
                for place in np.flatnonzero(self.waits[chunk.start : chunk.start + chunk.rows]).tolist():
                    request = rendered[place]
                    if isinstance(request, Request):
                        yield chunk.start + place, request

    def _passes(self) -> list[list[Chunk]]:
        """The chunks with waiting rows, in at most two ranges, so that the widest gap between them isn't read."""
        chunks = [chunk for chunk in self.plan.chunks if self.waits[chunk.start : chunk.start + chunk.rows].any()]
        if len(chunks) < 2:
            return [chunks]
        cut = 1 + int(np.argmax(np.diff([chunk.index for chunk in chunks])))
        return [chunks[:cut], chunks[cut:]]
