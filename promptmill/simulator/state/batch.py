"""Describes a batch's life as values: its status, the next statuses, and its JSON.

    validating ──> in_progress ──> finalizing ──> completed
        │  │           │  │            │
        │  └> failed   │  └────────────┴────────> expired
        └──────────────┴──> cancelling ─────────> cancelled

Statuses, their timestamps and object fields: OpenAI's Batch guide and API description, read 2026-11-24.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from promptmill.simulator.state.ledger import Account
from promptmill.simulator.usage import Usage
from promptmill.simulator.wire import JsonObject, JsonValue

BatchStatus = Literal[
    "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
]
NEXT: dict[BatchStatus, frozenset[BatchStatus]] = {
    "validating": frozenset(("in_progress", "failed", "cancelling")),
    "in_progress": frozenset(("finalizing", "expired", "cancelling")),
    "finalizing": frozenset(("completed", "expired")),
    "cancelling": frozenset(("cancelled",)),
    "completed": frozenset(),
    "failed": frozenset(),
    "expired": frozenset(),
    "cancelled": frozenset(),
}
_SHOWN_TIMES: tuple[BatchStatus, ...] = (
    "in_progress",
    "finalizing",
    "completed",
    "failed",
    "expired",
    "cancelling",
    "cancelled",
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a batch failed validation."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None  # 1 = first

    def as_json(self) -> JsonObject:
        """An element of `errors.data`."""
        return {"code": self.code, "message": self.message, "param": self.param, "line": self.line}


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch at one moment."""

    id: str
    key: str  # API key of its owner
    endpoint: str
    input_file_id: str
    completion_window: str
    metadata: dict[str, str] | None
    created_at: int  # seconds since epoch, as all times here
    expires_at: int
    status: BatchStatus = "validating"
    times: dict[BatchStatus, int] = field(default_factory=dict[BatchStatus, int])  # when each status was entered
    problems: tuple[Problem, ...] = ()
    model: str | None = None
    total: int = 0  # lines
    completed: int = 0  # lines answered 200
    failed: int = 0  # lines answered otherwise
    usage: Usage | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether it will never change again."""
        return not NEXT[self.status]

    def as_json(self) -> JsonObject:
        """The `batch` object."""
        problems: list[JsonValue] = [problem.as_json() for problem in self.problems]
        times: JsonObject = {f"{status}_at": self.times.get(status) for status in _SHOWN_TIMES}
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "model": self.model,
            "errors": {"object": "list", "data": problems} if problems else None,
            "input_file_id": self.input_file_id,
            "completion_window": self.completion_window,
            "status": self.status,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            **times,
            "request_counts": {"total": self.total, "completed": self.completed, "failed": self.failed},
            "usage": self.usage.as_response() if self.usage else None,
            "metadata": None if self.metadata is None else {**self.metadata},
        }


def move(batch: Batch, status: BatchStatus, now: int) -> Batch:
    """The batch in its next status, with the time it got there. Raises: ValueError for a step that doesn't exist."""
    if status not in NEXT[batch.status]:
        raise ValueError(f"batch {batch.id} is {batch.status}; it can't become {status}.")
    return replace(batch, status=status, times={**batch.times, status: now})


def with_progress(batch: Batch, completed: int, failed: int) -> Batch:
    """The batch with new counts of its lines."""
    return replace(batch, completed=completed, failed=failed)


def with_results(batch: Batch, output_file_id: str | None, error_file_id: str | None, billed: Account) -> Batch:
    """The batch with its result files and what it is billed."""
    usage = Usage(billed.input_tokens, billed.cached_input_tokens, billed.output_tokens)
    return replace(batch, output_file_id=output_file_id, error_file_id=error_file_id, usage=usage)
