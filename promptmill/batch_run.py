"""A job's batches, opened, described and closed: what the flows and the command say to each other about them."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from promptmill.answers import ZERO_USD
from promptmill.batch_ledger import Ledger, LedgerState
from promptmill.batch_provider import BatchProvider
from promptmill.batch_work import BatchWork
from promptmill.errors import RunStopped
from promptmill.job import Job
from promptmill.prepared import CHECKPOINTS
from promptmill.progress import Progress
from promptmill.publishing import RunFacts, counted_manifest
from promptmill.runner import Run
from promptmill.stop import Stop
from promptmill.storage import Storage
from promptmill.store import Store
from promptmill.transport import Credentials


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


def describe(work: BatchWork) -> dict[str, Any]:
    """The batches of the run under way, as JSON values."""
    records = work.of_this_run
    live = [one for one in records if one.is_live]
    return {
        "job": work.job.name,
        "output_url": work.job.output.url,
        "state": "cancelled" if work.ledger.state.is_cancelled else "in_flight" if not work.is_finished else "answered",
        "requests": sum(one.requests for one in records),
        "completed": sum(one.answered if not one.is_live else one.completed for one in records),
        "failed": sum(one.failed for one in records),
        "spent_usd": str(sum((one.cost_usd for one in records), ZERO_USD)),
        "reserved_usd": str(sum((one.reserved_usd for one in live), ZERO_USD)),
        "is_all_submitted": work.ledger.state.is_all_submitted,
        "batches": [
            {
                "id": one.batch_id,
                "key": one.key,
                "state": one.state,
                "status": one.status,
                "requests": one.requests,
                "completed": one.completed,
                "failed": one.failed,
                "expires_at": one.expires_at,
                "note": work.notes.get(one.key, one.message),
            }
            for one in records
        ],
    }


def describe_line(work: BatchWork, now: float) -> str:
    """The same in one line."""
    found = describe(work)
    by_status: dict[str, int] = {}
    for one in found["batches"]:
        name = one["status"] if one["state"] == "submitted" else one["state"]
        by_status[name] = by_status.get(name, 0) + 1
    shown = ", ".join(f"{count} {name}" for name, count in by_status.items()) or "none yet"
    expiries = [one["expires_at"] for one in found["batches"] if one["expires_at"] and one["state"] == "submitted"]
    expires = f" · expires in {max(0.0, min(expiries) - now) / 3600:.1f} h" if expiries else ""
    notes = "; ".join(sorted(set(work.notes.values())))
    return (
        f"batches {shown} · requests {found['completed']:,} completed, {found['failed']:,} failed of "
        f"{found['requests']:,} submitted · USD {Decimal(found['spent_usd']):,.4f} spent, "
        f"{Decimal(found['reserved_usd']):,.4f} reserved{expires}{' · ' + notes if notes else ''}"
    )


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
