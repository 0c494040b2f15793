"""Runs a job with a deadline: asks a few rows online to measure the pace, then uses batches while there is time.

In the end the same engine as in any run asks the remaining rows online. It asks a row only after the row's batch is over,
so nothing is paid for twice.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from promptmill.batch.following import begin_batches, forget_batches
from promptmill.batch.ledger import Ledger
from promptmill.batch.live import refuse_rows_in_batches
from promptmill.batch.session import work_of_batches
from promptmill.batch.step import BatchWork
from promptmill.batch.timing import Timing, clock_time
from promptmill.batch.within import is_hopeless, move_at, next_step, probe_rows, seen_rate
from promptmill.checkpoints.deadline_record import (
    DeadlineRecord,
    forget_deadline,
    going_on,
    note_change,
    read_deadline,
    write_deadline,
)
from promptmill.job.deadline import deadline_at
from promptmill.planning.forecast import minutes_at_limits
from promptmill.planning.kept import find_kept
from promptmill.planning.prepared_job import Prepared
from promptmill.runs.elsewhere import NOTHING_ELSEWHERE, Elsewhere
from promptmill.runs.engine import Engine
from promptmill.runs.run import PendingRun, Planning, plan_pending_run
from promptmill.runs.sample import draw_rows, sample_job_of

_SEEDS = (0, 1, 2)  # after a kill, the next run first draws the same rows again, and then others
log = logging.getLogger("promptmill")


@dataclass(frozen=True, slots=True)
class Ways:
    """The caller's ways to answer rows online, to wait for batches, and to tell a person something."""

    answer: Callable[[PendingRun], Awaitable[Engine]]
    follow: Callable[[BatchWork, PendingRun], Awaitable[None]]
    tell: Callable[[str], None] = log.info


@dataclass(frozen=True, slots=True)
class InTime:
    """The rows that batches answered for a run with a deadline; the engine answers the rest."""

    record: DeadlineRecord
    work: BatchWork | None  # None: there were no batches
    first: Elsewhere = NOTHING_ELSEWHERE  # the rows that were asked online to measure the pace

    @property
    def elsewhere(self) -> Elsewhere:
        """The counts in the form of a run's manifest."""
        found = Elsewhere(deadline=self.record) if self.work is None else work_of_batches(self.work)
        return replace(
            found,
            requests=found.requests + self.first.requests,
            attempts=found.attempts + self.first.attempts,
            answered=found.answered + self.first.answered,
            retries=self.first.retries,
        )


async def answer_by_batches(run: PendingRun, ways: Ways, began_at: datetime | None = None) -> InTime:
    """Let batches answer the rows of a run with a deadline, until the remaining rows have to be asked online.

    A deadline such as 6h counts from `began_at`, by default from the time of the plan.
    Raises: RunStopped or a subclass; SetupError; OutputInUse where batches are live and nobody knows the pace online.
    """
    ledger = await asyncio.to_thread(Ledger(run.prepared.store.storage).load)
    record, first = await asyncio.to_thread(_open_record, run, ledger, began_at or run.started_at), NOTHING_ELSEWHERE
    estimate = run.preflight.estimate
    if not ledger.live and estimate.batch_usd >= estimate.online_usd:
        if record.rows_per_second is None and run.prepared.job.request.tier is not None:
            record, first = await _measure(run, record, ways)  # this deadline also says how long flex has time
        return InTime(await _note_online(run, record, ways, "batches cost no less"), None, first)
    if record.rows_per_second is None:
        record, first = await _measure(run, record, ways)
    moment = Timing(record, run.prepared.job.batch.poll_seconds).moment(ledger, time.time())
    if not ledger.live and (ledger.state.moved_at or next_step(moment) != "submit"):
        why = "online alone will hardly be done by then" if is_hopeless(moment) else "there is no time for batches"
        return InTime(await _note_online(run, record, ways, why), None, first)
    plan = (
        f"{moment.left:,} rows go into batches (about ${estimate.batch_usd:,.4f} instead of ${estimate.online_usd:,.4f} "
        f"online); what they haven't answered by {clock_time(move_at(moment))} is asked online, where the first rows went at "
        f"{moment.rows_per_second:,.1f} a second"
    )
    record = await _note(run, record, ways, plan)
    batched = replace(run, prepared=_with_leftovers_online(run))
    work = await begin_batches(batched)
    await ways.follow(work, batched)
    return InTime(record, work, first)


async def end_in_time(found: InTime, run: PendingRun, engine: Engine) -> None:
    """Remove what only an unfinished run needs; call it after publishing."""
    if found.work is not None:
        await forget_batches(found.work, engine)
    else:
        await asyncio.to_thread(forget_deadline, run.prepared.store.storage)


def _open_record(run: PendingRun, ledger: Ledger, started: datetime) -> DeadlineRecord:
    """The deadline that the run's first start recorded, or the one that this start gives.

    A changed deadline keeps the measured pace: rows in live batches can't be asked online to measure it again.
    """
    prepared, job, storage = run.prepared, run.prepared.job, run.prepared.store.storage
    assert job.deadline is not None  # noqa: S101 - only called where there is one
    found = read_deadline(storage)
    if found is None or found.rows_per_second is None:
        refuse_rows_in_batches(prepared.store, prepared.output.url)
    if found is not None and going_on(found, job.deadline, prepared.digest, datetime.now(UTC)):
        return found
    pace = found.rows_per_second if found is not None and ledger.live else None
    at = deadline_at(job.deadline, started)
    answered = sum(batch.answered for batch in ledger.of_this_run if not batch.is_live)  # Timing subtracts it again
    rows = _left_rows(run) + answered
    ledger.save_state(replace(ledger.state, moved_at=0.0))  # it belonged to the previous deadline
    return write_deadline(
        storage, DeadlineRecord(job.deadline, prepared.digest, started, at, rows, rows_per_second=pace)
    )


def _left_rows(run: PendingRun) -> int:
    """An upper bound on the rows that a run has to ask: all rows of unfinished chunks."""
    plan = run.preflight.plan
    kept = find_kept(run.prepared.store, plan, run.again)
    left = [chunk for chunk in plan.chunks if kept.finished(chunk) is None]
    return max(0, sum(chunk.rows - chunk.unrendered - chunk.shared for chunk in left) - plan.cached)


async def _measure(run: PendingRun, record: DeadlineRecord, ways: Ways) -> tuple[DeadlineRecord, Elsewhere]:
    """Ask a few rows online, keep the measured pace, and say it."""
    engine, seconds = await _ask_few(run, record, ways, _SEEDS[0])
    for seed in _SEEDS[1:]:
        if engine.progress.sent:
            break  # else an earlier start or `promptmill sample` asked these rows, so there is nothing to measure
        engine, seconds = await _ask_few(run, record, ways, seed)
    asked, counters = engine.progress.sent, engine.client.counters
    rate = seen_rate(asked, seconds, engine.places.limit, _limited_minutes(engine))
    learned = replace(record, rows=max(0, record.rows - asked), rows_per_second=rate)
    first = Elsewhere(counters.requests, counters.attempts, dict(counters.retries_by_kind), asked)
    return await asyncio.to_thread(write_deadline, run.prepared.store.storage, learned), first


async def _ask_few(run: PendingRun, record: DeadlineRecord, ways: Ways, seed: int) -> tuple[Engine, float]:
    """Ask a few rows online; returns the engine that did so, and the seconds it took."""
    part = await asyncio.to_thread(_part_of, run, probe_rows(record.rows), seed)
    began = time.monotonic()
    return await ways.answer(part), time.monotonic() - began


def _part_of(run: PendingRun, rows: int, seed: int) -> PendingRun:
    """A run over a few rows of another run, which gets their answers."""
    drawn = draw_rows(run, rows, seed)
    planning = Planning(run.started_at.date(), overwrite=True, flow_run_ids=run.flow_run_ids, dataset=drawn)
    part = plan_pending_run(sample_job_of(run.prepared.job, None), run.credentials, planning)
    return replace(part, lease=run.lease, again=run.again)


def _limited_minutes(engine: Engine) -> float | None:
    """Minutes that the asked rows take at the limits that the provider told or the job gives."""
    limiter, usage = engine.client.limiter, engine.progress.usage
    learned = {
        "requests_per_minute": limiter.requests_per_minute,
        "tokens_per_minute": limiter.tokens_per_minute,
        "input_tokens_per_minute": limiter.split.input.limit,
        "output_tokens_per_minute": limiter.split.output.limit,
    }
    job = engine.job.model_copy(update={"limits": engine.job.limits.model_copy(update=learned)})
    return minutes_at_limits(job, engine.progress.sent, usage.input_tokens, usage.output_tokens)


async def _note_online(run: PendingRun, record: DeadlineRecord, ways: Ways, why: str) -> DeadlineRecord:
    return await _note(run, record, ways, f"all rows are asked online at once, since {why}")


async def _note(run: PendingRun, record: DeadlineRecord, ways: Ways, plan: str) -> DeadlineRecord:
    """Log the plan and keep it."""
    until = clock_time(record.at.timestamp())
    ways.tell(f"To be done by {until} (deadline: {record.text}): {plan}.")
    return await asyncio.to_thread(note_change, run.prepared.store.storage, record, datetime.now(UTC), plan)


def _with_leftovers_online(run: PendingRun) -> Prepared:
    """The job for the batches: they leave unanswered rows to the engine, and skip the canary, since time is short."""
    prepared = run.prepared
    batch = prepared.job.batch.model_copy(update={"leftovers": "online", "canary_rows": 0})
    return replace(prepared, job=prepared.job.model_copy(update={"batch": batch}))
