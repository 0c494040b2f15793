"""A job's batches, opened, described and closed: what the flows and the command say to each other about them."""

from collections.abc import Callable

from promptmill.batch.api import BatchProvider
from promptmill.batch.ledger import Ledger, LedgerState
from promptmill.batch.step import BatchWork
from promptmill.checkpoints.answer_files import ZERO_USD
from promptmill.checkpoints.store import Store
from promptmill.errors import RunStopped
from promptmill.job.spec import Job
from promptmill.planning.prepared_job import CHECKPOINTS
from promptmill.provider.transport import Credentials
from promptmill.run.progress import Progress
from promptmill.run.publish import RunFacts, counted_manifest
from promptmill.run.run import Run
from promptmill.stop import Stop
from promptmill.storage import Storage


def open_batches(job: Job, credentials: Credentials, plan: Callable[[], Run]) -> BatchWork:
    """The batches of a job whose output.url is no template any more; `plan` is asked when rows are needed. Blocks."""
    store = Store(Storage(job.output.url).folder(CHECKPOINTS))
    return BatchWork(job, store, Ledger(store.storage).load(), BatchProvider(credentials), plan)


def start_batches(run: Run) -> BatchWork:
    """The batches of a run that starts or goes on. Blocks. Raises: StorageFailed, CredentialsError."""
    work = open_batches(run.prepared.job, run.credentials, lambda: run)
    state = work.ledger.state
    work.ledger.save_state(
        LedgerState(
            enqueued_tokens=state.enqueued_tokens,
            retry_before=state.retry_before if state.started_at and state.retry_before else run.retry_before,
            started_at=state.started_at or work.clock(),
        )
    )
    return work


def take_over(work: BatchWork, run: Run) -> None:
    """Tell a run what its batches did, before it publishes."""
    run.mode = "batch"
    run.batches = work.of_this_run


def close_batches(work: BatchWork) -> None:
    """After publishing: forget what the run needed, at the provider too. Blocks."""
    records = work.of_this_run
    if not work.job.batch.keep_files:
        work.provider.delete(one.file_id for one in records if one.file_id)
    work.ledger.save_state(LedgerState(enqueued_tokens=work.ledger.state.enqueued_tokens))


def stop_run(work: BatchWork, run: Run, reason: RunStopped) -> None:
    """Leave the manifest of a run that ended early with it."""
    assert run.preflight is not None  # noqa: S101 - there was something to do
    take_over(work, run)
    records = [one for one in run.batches if one.state == "collected"]
    progress = Progress(run.preflight.plan.rows, 1.0, Stop())
    progress.done, progress.failed = sum(one.answered for one in records), sum(one.refused for one in records)
    progress.spent_usd = sum((one.cost_usd for one in records), ZERO_USD)
    sent = sum(one.requests for one in run.batches)
    facts = RunFacts(
        run.started_at,
        run.preflight.estimate,
        mode="batch",
        requests_sent=sent,
        attempts=sent,
        flow_run_ids=run.flow_run_ids,
        batches=[{"id": one.batch_id, "status": one.status, "requests": one.requests} for one in run.batches],
    )
    run.manifest = counted_manifest(run.prepared, facts, progress, reason.state)
