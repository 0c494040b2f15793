"""What is known of a request while it is tried, and how it ended."""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from promptmill.limits.budget import ZERO
from promptmill.provider.response_body import Answer
from promptmill.provider.retry_policy import GiveUp
from promptmill.records import FailureKind, Usage


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong with an answer."""

    kind: FailureKind
    message: str
    is_worth_another: bool  # the same request may bring a better answer


Judge = Callable[[Answer], Complaint | None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended: its last answer, what is wrong with it or why there is none, and what it took."""

    answer: Answer | None
    complaint: Complaint | None  # with `answer`
    failure: GiveUp | None  # no answer, or none that could be read
    attempts: int
    usage: Usage
    cost_usd: Decimal
    latency_seconds: float | None  # of the last attempt that was answered


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request: its body and what it may take of the limits."""

    body: bytes
    input_tokens: int
    max_output_tokens: int | None


@dataclass(slots=True)
class Tries:
    """What happened to one request so far."""

    started: float  # monotonic seconds
    attempts: int = 0
    failures: int = 0  # attempts that count against max_attempts
    limited: int = 0  # waits for a rate limit
    complaints: int = 0  # answers that weren't acceptable
    answer: Answer | None = None
    complaint: Complaint | None = None
    usage: Usage = field(default_factory=Usage)
    cost_usd: Decimal = ZERO
    latency_seconds: float | None = None

    def outcome(self, verdict: Answer | GiveUp) -> Outcome:
        """How the request ended, given its last verdict."""
        failure = verdict if isinstance(verdict, GiveUp) else None
        return Outcome(
            answer=self.answer,
            complaint=self.complaint,
            failure=failure,
            attempts=self.attempts,
            usage=self.usage,
            cost_usd=self.cost_usd,
            latency_seconds=self.latency_seconds,
        )


@dataclass(slots=True)
class Counters:
    """What this process sent in this run and what came of it, for progress and report."""

    attempts: int = 0
    requests: int = 0  # that were sent at least once
    in_flight: int = 0
    pausing: int = 0  # rows that wait for their next attempt


@dataclass(slots=True)
class Bill:
    """What one attempt turned out to take."""

    reserved_usd: Decimal
    used_tokens: float
    cost_usd: Decimal = ZERO
    may_be_billed: bool = False
