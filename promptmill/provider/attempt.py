"""What is known of a request while it is tried, and how it ended."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from promptmill.limits.budget import ZERO
from promptmill.limits.token_bucket import Tokens
from promptmill.provider.response_body import Answer
from promptmill.provider.retry_policy import GiveUp
from promptmill.record import record
from promptmill.records import FailureKind, Usage

_MOST_SHAPES = 20
_OTHER_SHAPES = "others"


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong with an answer."""

    kind: FailureKind
    message: str
    is_worth_another: bool  # the same request may bring a better answer
    is_formless: bool = False  # it isn't even of the format that was asked for


Judge = Callable[[Answer], Complaint | None]


@record
class Outcome:
    """How a request ended: its last answer, what is wrong with it or why there is none, and what it took."""

    answer: Answer | None
    complaint: Complaint | None  # with `answer`
    failure: GiveUp | None  # no answer, or none that could be read
    attempts: int
    usage: Usage
    cost_usd: Decimal
    latency_seconds: float | None  # of the last attempt that was answered


@record
class Call:
    """One HTTP request: its body and what it may take of the limits."""

    body: bytes
    input_tokens: int
    max_output_tokens: int | None
    optional: str = ""  # a parameter that we added, and that the caller leaves out if the provider refuses it


@dataclass(slots=True)
class VectorHabits:
    """What was learned of a provider's embeddings in this run."""

    is_base64: bool = True  # it takes `encoding_format: base64`
    is_one_by_one: bool = False  # it makes one vector of several inputs
    dimensions: int | None = None  # how long its vectors are
    window: int | None = None  # tokens to which it cuts an input in silence
    counts_packs: bool = True  # the tokens that it tells of several inputs are those of all of them


@dataclass(slots=True, eq=False)
class Tries:
    """What happened to one request so far."""

    started: float  # monotonic seconds
    attempts: int = 0
    failures: int = 0  # attempts that count against max_attempts
    limited: int = 0  # waits for a rate limit
    complaints: int = 0  # answers that weren't acceptable
    bought: int = 0  # answers that couldn't be read, and are billed all the same
    answers_seen: int = 0  # of the whole run, at this row's last refusal by a limit
    is_standard: bool = False  # asked at the standard tier, for want of capacity at the preferred one (tiers.py)
    format_place: int = 0  # of the mode in which a structured answer is asked for (formats.py)
    key_number: int = 0  # the key that the last attempt was sent with; 0 = the first
    sent_at: float = 0.0  # seconds of the loop's clock; the last attempt
    trouble_at: float | None = None  # when the last attempt was sent that failed at the server or on the way
    is_refused_alone: bool = False  # the provider answered others while it refused this row
    is_troubled_alone: bool = False  # the provider answered others after it failed with this row
    answer: Answer | None = None
    complaint: Complaint | None = None
    usage: Usage = field(default_factory=Usage)
    cost_usd: Decimal = ZERO
    latency_seconds: float | None = None

    def note_trouble(self, answered_sent_at: float) -> None:
        """The last attempt failed; `answered_sent_at` is when the newest request was sent that somebody had an answer to."""
        if self.trouble_at is not None and answered_sent_at > self.trouble_at:
            self.is_troubled_alone = True
        self.trouble_at = self.sent_at

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


_RETRY_STEP_SECONDS = 5  # a day of retries is some ten thousand counts


@dataclass(slots=True)
class Counters:
    """What this process sent in this run and what came of it, for progress and report."""

    attempts: int = 0
    requests: int = 0  # that were sent at least once
    in_flight: int = 0
    pausing: int = 0  # rows that wait for their next attempt
    retries: Counter[tuple[str, int]] = field(default_factory=Counter[tuple[str, int]])
    # attempts that another followed, by kind of failure and time, in whole steps of seconds since the epoch
    unknown: Counter[str] = field(default_factory=Counter[str])  # answers of a shape that nobody knows, shortened

    def saw_retry(self, kind: str, now: float) -> None:
        """Count an attempt that failed and that another follows; `now` is in seconds since the epoch."""
        self.retries[kind, int(now // _RETRY_STEP_SECONDS) * _RETRY_STEP_SECONDS] += 1

    @property
    def retries_by_kind(self) -> dict[str, int]:
        """Attempts that another followed, the most frequent kind first."""
        kinds = Counter[str]()
        for (kind, _), times in self.retries.items():
            kinds[kind] += times
        return dict(kinds.most_common())

    def saw_unknown(self, text: str) -> None:
        """Count an answer of an unknown shape; of very many different ones, the first are told apart."""
        if text in self.unknown or len(self.unknown) < _MOST_SHAPES:
            self.unknown[text] += 1
        else:
            self.unknown[_OTHER_SHAPES] += 1


@dataclass(slots=True)
class Bill:
    """What one attempt turned out to take."""

    reserved_usd: Decimal
    used_tokens: Tokens
    cost_usd: Decimal = ZERO
    uncertain_usd: Decimal = ZERO  # what the provider may have billed beyond it
    exposed_usd: Decimal = ZERO  # the most that it may take, for the account: it counts a wrong count of ours in
    is_doubtful: bool = False  # a gateway answered in the model's place, which may have answered and been billed
    is_estimated: bool = False  # `cost_usd` follows from our own count of the tokens
    is_retried: bool = False  # the answer is paid for and wouldn't do
