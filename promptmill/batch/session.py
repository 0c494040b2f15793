"""Opens a run's batches, stops them early, and closes them after publishing."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache

from promptmill.batch.api import BatchProvider
from promptmill.batch.ledger import BatchRecord, Ledger
from promptmill.batch.plan_record import forget_plan
from promptmill.batch.steering import end_orders
from promptmill.batch.step import BatchWork
from promptmill.batch.timing import timing_of
from promptmill.checkpoints.answer_files import ZERO_USD
from promptmill.checkpoints.deadline_record import forget_deadline
from promptmill.checkpoints.output_lease import OutputLease
from promptmill.checkpoints.store import Store
from promptmill.errors import RunStopped
from promptmill.job.spec import Job
from promptmill.planning.kept import again_from
from promptmill.planning.prepared_job import CHECKPOINTS, Prepared, prepare, today
from promptmill.provider.access import base_url_of
from promptmill.provider.transport import Credentials
from promptmill.runs.elsewhere import Elsewhere
from promptmill.runs.progress import Progress
from promptmill.runs.run import PendingRun, Run, facts_of_work, tell_how_far, with_approval
from promptmill.stop import Stop
from promptmill.storage import Storage

_STEP_SECONDS = 300.0  # seconds between two steps of advance-batches, roughly


def store_of(job: Job) -> Store:
    """The store of a job whose output.url is already rendered."""
    return Store(Storage(job.output.url).folder(CHECKPOINTS))


def open_batches(
    job: Job, credentials: Credentials, plan: Callable[[], Run], lease: OutputLease | None = None
) -> BatchWork:
    """The batches of a job whose output.url is already rendered. A step calls `plan` if it needs a whole plan. Blocks.

    With a `lease`, nothing is submitted once another run holds the output.
    """

    @cache
    def opened() -> Prepared:
        return with_approval(prepare(job, today())).routed_to(base_url_of(credentials))

    store = store_of(job)
    timing = None if job.deadline is None else timing_of(store.storage, _STEP_SECONDS)
    ledger = Ledger(store.storage).load()
    return BatchWork(job, store, ledger, BatchProvider(credentials), plan, opened, lease=lease, timing=timing)


def start_batches(run: PendingRun) -> BatchWork:
    """The batches of a run that starts or continues. Blocks. Raises: StorageFailed, CredentialsError."""
    prepared, job, provider = run.prepared, run.prepared.job, BatchProvider(run.credentials)
    ledger = Ledger(prepared.store.storage).load()
    timing = None if job.deadline is None else timing_of(prepared.store.storage, job.batch.poll_seconds)
    work = BatchWork(
        job, prepared.store, ledger, provider, lambda: run, lambda: prepared, lease=run.lease, timing=timing
    )
    forget_plan(work.ledger)
    state = work.ledger.state
    begun = again_from(state.retry_before, state.retry_all) if state.started_at else None
    again = run.again if begun is None else begun
    work.ledger.restart(
        replace(
            state.learned,
            retry_before=None if again is None else again.before,
            retry_all=again is None or again.is_all,
            moved_at=0.0 if timing is None else state.moved_at,
            started_at=state.started_at or _later_than(work.ledger.records.values(), work.clock()),
        )
    )
    return work


def _later_than(earlier: Iterable[BatchRecord], now: float) -> float:
    """A start time later than every batch of earlier runs, even if another machine's clock is ahead of ours."""
    return max([now, *(math.nextafter(record.packed_at, math.inf) for record in earlier if not record.is_live)])


def work_of_batches(work: BatchWork) -> Elsewhere:
    """What the batches did for a run."""
    records, state = work.of_this_run, work.ledger.state
    requests = sum(record.requests for record in records)
    return Elsewhere(
        requests=requests,
        attempts=requests,
        answered=sum(record.answered for record in records),
        batches=[{"id": record.batch_id, "status": record.status, "requests": record.requests} for record in records],
        again=again_from(state.retry_before, state.retry_all),
        deadline=None if work.timing is None else work.timing.record,
    )


def close_batches(work: BatchWork) -> None:
    """Delete the run's files, here and at the provider; call it after publishing. Blocks."""
    records = work.of_this_run
    if not work.job.batch.keep_files:
        work.provider.delete(record.file_id for record in records if record.file_id)
    work.ledger.restart(work.ledger.state.learned)
    forget_plan(work.ledger)
    forget_deadline(work.store.storage)
    end_orders(work)


def stop_run(work: BatchWork, run: Run, reason: RunStopped) -> None:
    """Add a manifest to the error of a run that ended while its batches were under way."""
    if not isinstance(run, PendingRun):
        return
    collected = [record for record in work.of_this_run if record.state == "collected"]
    progress = Progress(run.preflight.plan.rows, 1.0, Stop())
    progress.done = sum(record.answered for record in collected)
    progress.failed = sum(record.refused for record in collected)
    progress.spent_usd = sum((record.cost_usd for record in collected), ZERO_USD)
    tell_how_far(reason, run, facts_of_work(run, work_of_batches(work)), progress)
