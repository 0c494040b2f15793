"""Reads the records and answers that an audit adds up, from an output's `_checkpoints/`.

The room `batch` owns the records of batches and stands above this room. So this file has a small model of its own, which
reads only the fields about money.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from pydantic import TypeAdapter

from promptmill.account import Usd
from promptmill.arrow import pc
from promptmill.checkpoints.accounts import AccountRecords, Accounts, has_accounts
from promptmill.checkpoints.answer_files import ZERO_USD
from promptmill.checkpoints.kept_money import KeptMoney, KeptSums, read_kept_money
from promptmill.checkpoints.spend import SPEND, SpendRecords
from promptmill.checkpoints.store import BATCH_ROWS, CACHE_ROWS, Listing, Store
from promptmill.errors import OutputError
from promptmill.state_files import StateFile

_BATCHES = "batches/"


@dataclass(frozen=True, slots=True)
class BatchMoney:
    """The money in the record of one batch."""

    key: str
    requests: int
    reserved_usd: Usd
    state: str = "packed"
    completed: int = 0  # requests, by the provider's count
    answered: int = 0  # rows that got a result or a final failure
    batch_id: str = ""
    status: str = ""  # the last status that the provider told
    cost_usd: Usd = ZERO_USD
    uncertain_usd: Usd = ZERO_USD
    told_tokens: tuple[int, int] | None = None
    counted_tokens: tuple[int, int] | None = None
    packed_at: float = 0.0  # seconds since the epoch

    @property
    def is_open(self) -> bool:
        """Whether the provider may still bill it, or may have billed it without giving results."""
        if self.state != "dropped":
            return self.state != "collected"
        return self.completed > 0 or (self.batch_id != "" and self.status != "failed")

    @property
    def lost_usd(self) -> Decimal:
        """US dollars that a collected batch may cost beyond its results: for requests that ran and brought no result."""
        if self.state != "collected":
            return ZERO_USD
        missing = max(0, min(self.completed, self.requests) - self.answered)
        return max(self.uncertain_usd, self.reserved_usd * missing / max(1, self.requests))


_BATCH_FILE: StateFile[BatchMoney] = StateFile(
    TypeAdapter(BatchMoney),
    purpose="It says what a batch cost or may cost.",
    way_on="Restore the file, then give the same command again.",
    damaged=OutputError,
)


@dataclass(frozen=True, slots=True)
class Found:
    """Everything that an audit adds up, except the answers."""

    accounts: Accounts
    batches: tuple[BatchMoney, ...]
    saved_usd: dict[str, Decimal]  # key of a batch → cost of the answers in its files
    earlier_usd: Decimal  # the most that was spent without an answer before there were accounts


@dataclass(frozen=True, slots=True)
class Books:
    """Everything that an audit adds up."""

    found: Found
    kept: KeptSums
    unreadable: int = 0  # answer files


def read_books(store: Store) -> Books:
    """Reads the records, then the answers. Blocks. Raises: StorageFailed; OutputError for a damaged record.

    In this order an answer that a run saves meanwhile may be counted twice, but is never left out.
    """
    found = _read_found(store)
    money, unreadable = read_kept_money(store, found.accounts.cleaned)
    return Books(found, money.sums(), unreadable)


def begin_books(store: Store, planned: Sequence[str]) -> tuple[Found, KeptMoney, int]:
    """Reads everything except the answer files that the caller reads itself. Blocks. Raises: as `read_books`."""
    found = _read_found(store)
    free = [
        name for name in store.listing().sizes if name.startswith(CACHE_ROWS)
    ]  # copies of other rows' answers cost nothing
    return found, *read_kept_money(store, found.accounts.cleaned, [*planned, *free])


def _read_found(store: Store) -> Found:
    """Reads everything except the answers. Blocks. Raises: StorageFailed; OutputError for a damaged record."""
    listing = store.listing()
    accounts = AccountRecords(store).read(listing)
    if accounts.earlier is not None:
        earlier = accounts.earlier.at_most_usd
    elif SPEND in listing.sizes and not has_accounts(listing):
        earlier = SpendRecords(store).lost_at_most(listing)
    else:
        earlier = ZERO_USD
    names = [name for name in listing.sizes if name.startswith(_BATCHES) and name.endswith(".json")]
    records = [_BATCH_FILE.read(store.storage, name) for name in names if not name.startswith(f"{_BATCHES}_")]
    batches = tuple(record for record in records if record is not None)
    return Found(accounts, batches, _costs_of_slices(store, listing), earlier)


def _costs_of_slices(store: Store, listing: Listing) -> dict[str, Decimal]:
    costs: dict[str, Decimal] = {}
    names = [name for name in listing.sizes if name.startswith(BATCH_ROWS) and name.endswith(".parquet")]
    for name, table in store.load_all(names, ["cost_usd"]):
        key = name.removeprefix(BATCH_ROWS).removesuffix(".parquet").rpartition("-")[0]
        costs[key] = costs.get(key, ZERO_USD) + (pc.sum(table["cost_usd"]).as_py() or ZERO_USD)
    return costs
