"""What the ledger says of one batch, and of all batches of an output together."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

State = Literal["packed", "uploaded", "creating", "submitted", "collected", "dropped"]
_LIVE: frozenset[State] = frozenset({"packed", "uploaded", "creating", "submitted"})


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """One batch, from intent to outcome; times are seconds since the epoch."""

    key: str
    requests: int
    bytes: int
    input_tokens: int
    reserved_usd: Decimal
    packed_at: float
    state: State = "packed"
    owner: str = ""  # the process that has it in hand, while it isn't submitted (owner.py)
    file_id: str = ""
    batch_id: str = ""
    status: str = ""  # the provider's last word
    statuses: tuple[tuple[str, float], ...] = ()  # every one seen, and when first
    completed: int = 0  # requests, by the provider's count
    failed: int = 0
    expires_at: float | None = None
    changed_at: float = 0.0
    not_before: float = 0.0  # nothing is tried with it before
    refusals: int = 0  # times that it turned `failed` without being run
    empty_looks: int = 0  # times that it was over and named no result file
    answered: int = 0  # rows that got a result or a final failure
    refused: int = 0  # of those, failures
    cost_usd: Decimal = Decimal(0)
    uncertain_usd: Decimal = Decimal(0)  # reserved for rows whose lines were lost, and so perhaps billed
    told_tokens: tuple[int, int] | None = None  # input, output of the whole batch, by the provider's `usage`
    counted_tokens: tuple[int, int] | None = None  # the same by the lines that were answered
    message: str = ""
    is_canary: bool = False  # a few rows that are tried before all others (canary.py)
    endpoint: str = ""  # as its lines spell it; empty in records of earlier versions, which have OpenAI's
    is_lossy: bool = False  # the provider says that it answered rows whose lines it doesn't give
    is_halted: bool = False  # its lines stopped the run, and so say nothing against their rows

    @property
    def is_live(self) -> bool:
        """Whether its rows may still be answered by it."""
        return self.state in _LIVE

    @property
    def filename(self) -> str:
        """The name of its file at the provider."""
        return f"promptmill-{self.key}.jsonl"


@dataclass(frozen=True, slots=True)
class LedgerState:
    """What holds for all batches of an output."""

    enqueued_tokens: int | None = None  # learned from refusals
    max_bytes: int | None = None  # of a file; learned in the same way
    prefix: str | None = None  # of endpoints (services.py), where the table's was refused
    retry_before: float | None = None  # failures answered before are asked again
    retry_all: bool = True  # of every kind
    is_all_submitted: bool = False  # no row waits for room
    started_at: float = 0.0  # of the run under way, first of all its processes; 0 = none is
    is_cancelled: bool = False  # somebody cancelled the job: nothing more is submitted
    moved_at: float = 0.0  # when the rows that no batch had answered were left to an online run; 0 = they weren't
    full_at: str = ""  # digest of what room depends on, when a step last found none (room_digest)

    @property
    def learned(self) -> "LedgerState":
        """What a later run may begin with: the provider's limits and manners."""
        return LedgerState(self.enqueued_tokens, self.max_bytes, self.prefix)
