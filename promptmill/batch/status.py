"""How far a job's batches are, as JSON values and as one line."""

from decimal import Decimal
from typing import Any

from promptmill.batch.step import BatchWork
from promptmill.checkpoints.answer_files import ZERO_USD
from promptmill.public_url import public_url


def describe(work: BatchWork) -> dict[str, Any]:
    """The batches of the run under way, as JSON values."""
    records = work.of_this_run
    live = [one for one in records if one.is_live]
    return {
        "job": work.job.name,
        "output_url": public_url(work.job.output.url),
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
