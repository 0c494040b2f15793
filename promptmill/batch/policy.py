"""Decides what to do next with each batch, and how much more to submit. Pure: ledger and provider's view in, action out.

Statuses and error codes: OpenAI Batch guide; `token_limit_exceeded` and its text: openai-python issues 2084 and 1643;
codes that blame the file: Azure's list too. Read 2026-11-24.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from promptmill.batch.files import Room
from promptmill.batch.ledger import BatchRecord, LedgerState
from promptmill.batch.services import Service
from promptmill.job.spec import Batch

_WAITING = frozenset(
    {"validating", "in_progress", "finalizing", "cancelling", "queued"}
)  # views.py translates other providers' words
ENDED = frozenset({"completed", "expired", "cancelled"})
_FILE_FAULTS = frozenset(
    {
        "mismatched_model",
        "model_mismatch",
        "invalid_json_line",
        "too_many_tasks",
        "url_mismatch",
        "duplicate_custom_id",
        "empty_file",
        "model_not_found",
    }
)
EMPTY_LOOKS = 5  # looks before we believe that a batch is missing, or is over without a result file
_REFUSALS = 4  # submissions of one file after a `failed` that isn't a full queue
_EXPIRY_GRACE_SECONDS = 3_600.0
_LONGEST_BACKOFF = 16  # times poll_seconds
_LIMIT = re.compile(r"limit(?: of|:)?\s+([0-9][0-9,]*)\s*([KM])?\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class BatchView:
    """A batch as the provider shows it."""

    id: str
    status: str  # in OpenAI's words, if they have one (views.py)
    input_file_id: str
    output_file_id: str  # "" = none
    error_file_id: str
    completed: int
    failed: int
    total: int
    created_at: float
    expires_at: float | None
    key: str  # our key, from its metadata; "" = none
    errors: tuple[tuple[str, str], ...] = ()  # code, message
    input_tokens: int | None = None  # of all its requests together; None: the provider doesn't tell
    output_tokens: int | None = None


Step = Literal["recover", "create", "search", "look", "wait"]


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing before the next look; `note` tells a person why."""

    note: str = ""


@dataclass(frozen=True, slots=True)
class Collect:
    """The results are final: save what there is."""


@dataclass(frozen=True, slots=True)
class Requeue:
    """The provider refused the batch without running it: create it again later, from the same file."""

    wait_seconds: float


@dataclass(frozen=True, slots=True)
class Drop:
    """Give up the file and pack its rows again, in files of at most `tokens_at_most` if that is known."""

    tokens_at_most: int | None
    wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Respell:
    """The provider refused the endpoint's spelling: give up the file and pack its rows again with the other spelling."""


@dataclass(frozen=True, slots=True)
class Halt:
    """Stop the job: its other batches would end the same way."""

    message: str


Action = Wait | Collect | Requeue | Drop | Respell | Halt


def first_step(record: BatchRecord, now: float) -> Step:
    """The first step for a batch, wherever an earlier process left it."""
    if record.not_before > now:
        return "wait"
    steps: dict[str, Step] = {"packed": "recover", "uploaded": "create", "creating": "search"}
    return steps.get(record.state, "look")


def after_search(
    record: BatchRecord, found: bool, now: float, settle_seconds: float
) -> Literal["adopt", "create", "wait"]:
    """What to do with a batch whose creation got no answer. Lists may lag, so believe only later that it is missing."""
    if found:
        return "adopt"
    return "create" if now - record.changed_at >= settle_seconds else "wait"


def judge(record: BatchRecord, view: BatchView | None, now: float, poll_seconds: float, is_alone: bool) -> Action:
    """What to do about a batch as the provider shows it; `is_alone`: no other batch of this output is live."""
    if view is None and record.empty_looks < EMPTY_LOOKS:  # lists and replicas may lag
        return Wait(f"the provider doesn't show batch {record.batch_id}; the next look asks again")
    if view is None:
        return Halt(
            f"the provider knows no batch {record.batch_id} for this key; it was created by another key or project, or "
            "deleted. Use the key that created it (OPENAI_API_KEY, OPENAI_PROJECT_ID or the provider block), then run the same "
            "command again: its rows are still in it, and aren't submitted twice."
        )
    if view.status in ENDED:
        return _judge_ended(record, view)
    if view.status == "failed":
        return _judge_failed(record, view, poll_seconds, is_alone)
    if view.status in _WAITING:
        return Wait("its requests are done, the result files are being written" if view.status == "finalizing" else "")
    expiry = (view.expires_at or record.packed_at + 86_400.0) + _EXPIRY_GRACE_SECONDS
    return Collect() if now > expiry else Wait(f"unknown status {view.status!r}; the run waits for it until it expires")


def _judge_ended(record: BatchRecord, view: BatchView) -> Action:
    has_files = bool(view.output_file_id or view.error_file_id)
    if view.status == "completed" and not has_files and record.empty_looks < EMPTY_LOOKS:
        return Wait("completed, but no result file is named yet")
    return Collect()


def _judge_failed(record: BatchRecord, view: BatchView, poll_seconds: float, is_alone: bool) -> Action:
    if view.output_file_id:
        return Collect()
    backoff = poll_seconds * min(_LONGEST_BACKOFF, 2**record.refusals)
    codes = {code for code, _ in view.errors}
    text = "; ".join(f"{code}: {message}" for code, message in view.errors[:3]) or "no reason given"
    if _is_queue_full(view.errors):
        return _judge_full(record, view, backoff, is_alone)
    if "url_mismatch" in codes and record.refusals == 0:
        return Respell()
    if codes & _FILE_FAULTS:
        return Halt(
            f"batch {view.id} was refused: {text}. Nothing of it was run or billed. Fix the job, then run it again."
        )
    if record.refusals + 1 >= _REFUSALS:
        return Halt(
            f"batch {view.id} was refused {record.refusals + 1} times: {text}. Run the same command again later."
        )
    if record.refusals % 2 == 1 and any(code == "invalid_request" for code in codes):
        return Drop(None, backoff)  # the file itself may be lost, so upload it again
    return Requeue(backoff)


def _is_queue_full(errors: Sequence[tuple[str, str]]) -> bool:
    """Whether a batch failed only because the provider's queue is full (tokens or requests)."""
    return any(code == "token_limit_exceeded" or "enqueued" in message.lower() for code, message in errors)


def _judge_full(record: BatchRecord, view: BatchView, backoff: float, is_alone: bool) -> Action:
    """If the queue is full, wait. If this batch was the only one in it, or is above its limit, the batch is too large."""
    limit = told_limit(view.errors)
    if limit is not None and limit < record.input_tokens:
        return Drop(limit)
    if not is_alone:
        return Requeue(backoff)
    return Drop(record.input_tokens // 2, backoff) if record.requests > 1 else Requeue(backoff)


def told_limit(errors: Sequence[tuple[str, str]]) -> int | None:
    """The enqueued-token limit that a refusal names; None where it names none."""
    for _, message in errors:
        if (found := _LIMIT.search(message)) is not None:
            return int(found[1].replace(",", "")) * {"K": 1_000, "M": 1_000_000}.get((found[2] or "").upper(), 1)
    return None


def room_left(
    batch: Batch,
    service: Service,
    learned: LedgerState,
    live: Sequence[BatchRecord],
    spent_usd: Decimal,
    cap_usd: Decimal | None,
) -> Room | None:
    """What the next file may hold; None when nothing more may be submitted now."""
    limits = [limit for limit in (batch.enqueued_tokens, learned.enqueued_tokens) if limit is not None]
    tokens = min(limits) - sum(record.input_tokens for record in live) if limits else None
    reserved = sum((record.reserved_usd for record in live), Decimal(0))
    usd = None if cap_usd is None else cap_usd - spent_usd - reserved
    if tokens is not None and tokens <= 0 and live:
        return None
    sizes = [size for size in (batch.max_bytes, service.max_bytes, learned.max_bytes) if size is not None]
    return Room(min(batch.max_requests, service.max_requests), min(sizes), tokens, usd)
