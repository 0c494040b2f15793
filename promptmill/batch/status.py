"""Shows how far a job's batches are, as JSON values and as one line."""

from decimal import Decimal
from typing import Any

from promptmill.batch.step import BatchWork
from promptmill.checkpoints.answer_files import ZERO_USD
from promptmill.public_url import public_url


def describe(work: BatchWork) -> dict[str, Any]:
    """The batches of the run under way, as JSON values."""
    records = work.of_this_run
    live = [record for record in records if record.is_live]
    return {
        "job": work.job.name,
        "output_url": public_url(work.job.output.url),
        "state": "cancelled" if work.ledger.state.is_cancelled else "in_flight" if not work.is_finished else "answered",
        "requests": sum(record.requests for record in records),
        "completed": sum(record.answered if not record.is_live else record.completed for record in records),
        "failed": sum(record.failed for record in records),
        "spent_usd": str(sum((record.cost_usd for record in records), ZERO_USD)),
        "reserved_usd": str(sum((record.reserved_usd for record in live), ZERO_USD)),
        "is_all_submitted": work.ledger.state.is_all_submitted,
        "batches": [
            {
                "id": record.batch_id,
                "key": record.key,
                "state": record.state,
                "status": record.status,
                "requests": record.requests,
                "completed": record.completed,
                "failed": record.failed,
                "expires_at": record.expires_at,
                "note": work.notes.get(record.key, record.message),
            }
            for record in records
        ],
    }


def describe_line(work: BatchWork, now: float) -> str:
    """The batches of the run under way, in one line."""
    found = describe(work)
    by_status: dict[str, int] = {}
    for batch in found["batches"]:
        name = batch["status"] if batch["state"] == "submitted" else batch["state"]
        by_status[name] = by_status.get(name, 0) + 1
    shown = ", ".join(f"{count} {name}" for name, count in by_status.items()) or "none yet"
    expiries = [
        batch["expires_at"] for batch in found["batches"] if batch["expires_at"] and batch["state"] == "submitted"
    ]
    expires = f" · expires in {max(0.0, min(expiries) - now) / 3600:.1f} h" if expiries else ""
    until = "" if work.timing is None else f" · {work.timing.describe(work.ledger, now)}"
    notes = "; ".join(sorted(set(work.notes.values())))
    return (
        f"batches {shown} · requests {found['completed']:,} completed, {found['failed']:,} failed of "
        f"{found['requests']:,} submitted · USD {Decimal(found['spent_usd']):,.4f} spent, "
        f"{Decimal(found['reserved_usd']):,.4f} reserved{expires}{until}{' · ' + notes if notes else ''}"
    )
