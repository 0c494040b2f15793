"""Turns a batch as the provider shows it into a BatchView. Providers leave out or misname many fields.

Statuses beside OpenAI's own: Together and Novita (in capitals), Mistral's jobs, Gemini's JOB_STATE_…, Azure's files
(`notRunning`, `running`, `pending`), as their API references name them, read 2026-11-27. An unknown status stays as it is.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from promptmill.batch.policy import BatchView
from promptmill.provider.json_fields import mapping_of
from promptmill.provider.redaction import redact
from promptmill.provider.usage import usage_of

if TYPE_CHECKING:
    from openai.types import Batch as ApiBatch

KEY = "promptmill_batch"  # of a batch's metadata
_MEANINGS: Mapping[str, str] = {
    **dict.fromkeys(("created", "pending", "submitted", "notrunning", "not_started", "scheduled"), "queued"),
    **dict.fromkeys(("running", "processing", "progress", "started", "inprogress"), "in_progress"),
    **dict.fromkeys(
        ("success", "succeeded", "complete", "done", "ended", "finished", "partially_succeeded"), "completed"
    ),
    **dict.fromkeys(("timeout_exceeded", "timed_out", "timeout"), "expired"),
    **dict.fromkeys(("cancellation_requested", "canceling", "cancel_requested"), "cancelling"),
    **dict.fromkeys(("canceled", "aborted"), "cancelled"),
    **dict.fromkeys(("error", "failure", "errored"), "failed"),
}
_PREFIXES = ("job_state_", "batch_state_", "batch_status_")


def status_of(value: object) -> str:
    """A status in OpenAI's words, if OpenAI has one for it."""
    word = str(value or "").strip().lower().replace("-", "_").replace(" ", "_")
    for prefix in _PREFIXES:
        word = word.removeprefix(prefix)
    return _MEANINGS.get(word, word)


def view_of(batch: "ApiBatch", secrets: Sequence[str]) -> BatchView:
    """The view of a batch, without secrets."""
    counts = batch.request_counts
    errors = (batch.errors.data if batch.errors is not None else None) or []
    usage = usage_of(mapping_of(batch.to_dict(mode="json", warnings=False).get("usage")))
    return BatchView(
        id=batch.id,
        status=redact(status_of(batch.status), secrets),
        input_file_id=batch.input_file_id or "",
        output_file_id=batch.output_file_id or "",
        error_file_id=batch.error_file_id or "",
        completed=_count(counts.completed if counts is not None else 0),
        failed=_count(counts.failed if counts is not None else 0),
        total=_count(counts.total if counts is not None else 0),
        created_at=_seconds(batch.created_at) or 0.0,
        expires_at=_seconds(batch.expires_at),
        key=str((batch.metadata or {}).get(KEY) or ""),
        errors=tuple((redact(error.code or "", secrets), redact(error.message or "", secrets)) for error in errors),
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
    )


def _count(value: object) -> int:
    """A count; the provider may give it as text or leave it out."""
    try:
        return max(0, int(str(value)))
    except ValueError:
        return 0


def _seconds(value: object) -> float | None:
    """Seconds since the epoch; None if the time has another form."""
    try:
        return float(str(value)) or None
    except ValueError:
        return None
