"""The records that travel between the rooms: row → `Request` → `Completion` or `Failure`.

Frozen, with slots, the unit beside each field. Money is `Decimal` US dollars.
"""

from decimal import Decimal
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from promptmill.record import record

FailureKind = Literal[
    "template_error",
    "unreadable_row",
    "invalid_request",
    "context_length_exceeded",
    "content_filter",
    "refusal",
    "truncated",
    "truncated_input",
    "invalid_response",
    "empty_response",
    "rate_limited",
    "server_error",
    "timeout",
    "connection",
    "batch_expired",
    "batch_cancelled",
    "missing",
]
FAILURE_KINDS: tuple[FailureKind, ...] = get_args(FailureKind)
PASSING_KINDS: frozenset[FailureKind] = frozenset(  # of reasons that are no row's and may be over by the next run
    {"rate_limited", "server_error", "timeout", "connection", "batch_expired", "batch_cancelled", "missing"}
)


@record
class Usage:
    """Tokens that the provider counted, summed over the attempts that it answered."""

    input_tokens: int = 0  # includes the cached ones
    cached_input_tokens: int = 0
    output_tokens: int = 0  # includes hidden reasoning tokens
    reasoning_tokens: int = 0  # of the output tokens
    is_estimated: bool = False  # counted here, at least in part, since the provider told nothing that can be right

    def __add__(self, other: "Usage") -> "Usage":
        """Sum, field by field; estimated where a part of it is."""
        return Usage(
            self.input_tokens + other.input_tokens,
            self.cached_input_tokens + other.cached_input_tokens,
            self.output_tokens + other.output_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.is_estimated or other.is_estimated,
        )


@record
class Request:
    """One row's request: what to send for it, and what it may take of the limits."""

    custom_id: str  # 32 hex of the request's digest, "-", 8 hex of the row id's digest
    body: bytes  # the JSON body; for embeddings the JSON string of the row's own input
    input_tokens: int  # counted or estimated, message and schema overhead included
    max_output_tokens: int | None  # the job's own limit, None where it sets none
    text_tokens: int = 0  # of `input_tokens`, those of texts: every server counts these, and none counts media alike


@record
class Completion:
    """A row's answer."""

    custom_id: str
    response: str | None  # the raw text; None for embeddings
    embedding: NDArray[np.float32] | None
    model: str
    finish_reason: str
    usage: Usage
    cost_usd: Decimal  # of all attempts that were answered, this run's and earlier ones
    latency_seconds: float | None  # of the attempt that was kept; None: answered in a batch
    attempts: int  # 1 = answered at once
    response_id: str
    answered_at: float  # seconds since the epoch
    confidence: str | None = (
        None  # JSON: property → mean probability of its tokens, "" = of all; where the job asks for it
    )


@record
class Failure:
    """Why a row has no answer, and what it cost all the same."""

    custom_id: str
    kind: FailureKind
    message: str
    http_status: int | None
    attempts: int  # 0 = never sent
    response: str | None  # the text that wouldn't do, where there was any
    usage: Usage
    cost_usd: Decimal
    latency_seconds: float | None
    answered_at: float  # seconds since the epoch
    model: str = ""


Result = Completion | Failure
