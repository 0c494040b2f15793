"""The ledger's records: one for each batch, and one that all batches of an output share."""

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
    owner: str = ""  # the process that submits it, until it is submitted (processes.py)
    file_id: str = ""
    batch_id: str = ""
    status: str = ""  # the last status that the provider told
    statuses: tuple[tuple[str, float], ...] = ()  # every status that we saw, and when first
    completed: int = 0  # requests, by the provider's count
    failed: int = 0
    expires_at: float | None = None
    changed_at: float = 0.0
    not_before: float = 0.0  # leave the batch alone until then
    refusals: int = 0  # times that it became `failed` without being run
    empty_looks: int = 0  # times that it was over and named no result file
    answered: int = 0  # rows that got a result or a final failure
    refused: int = 0  # of those, failures
    cost_usd: Decimal = Decimal(0)
    uncertain_usd: Decimal = Decimal(0)  # reserved for rows with lost lines, which the provider may have billed
    told_tokens: tuple[int, int] | None = None  # input, output of the whole batch, by the provider's `usage`
    counted_tokens: tuple[int, int] | None = None  # the same, summed over the answered lines
    message: str = ""
    is_canary: bool = False  # it holds the few rows that go first (canary.py)
    endpoint: str = ""  # as its lines spell it; "" in records of earlier versions: OpenAI's spelling
    is_lossy: bool = False  # the provider counts answers whose lines it doesn't give
    is_halted: bool = False  # its lines stopped the run, so they don't count as tries of their rows

    @property
    def is_live(self) -> bool:
        """Whether the batch may still answer its rows."""
        return self.state in _LIVE

    @property
    def filename(self) -> str:
        """The name of its file at the provider."""
        return f"promptmill-{self.key}.jsonl"


@dataclass(frozen=True, slots=True)
class LedgerState:
    """The state that all batches of an output share."""

    enqueued_tokens: int | None = None  # learned from refusals
    max_bytes: int | None = None  # of a file; learned from refusals too
    prefix: str | None = None  # of endpoints, if the provider refused the table's prefix (services.py)
    retry_before: float | None = None  # seconds since the epoch; failures older than this are asked again
    retry_all: bool = True  # whether that holds for every kind of failure
    is_all_submitted: bool = False  # no row waits for room
    started_at: float = 0.0  # when the run under way began, in its first process; 0: no run is under way
    is_cancelled: bool = False  # somebody cancelled the job: nothing more is submitted
    moved_at: float = 0.0  # when the unanswered rows went to an online run; 0: they didn't
    full_at: str = ""  # room_digest when a step last found no room

    @property
    def learned(self) -> "LedgerState":
        """The part that a later run starts with: the provider's limits and spelling."""
        return LedgerState(self.enqueued_tokens, self.max_bytes, self.prefix)
