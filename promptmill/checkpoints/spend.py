"""Records what may have been spent for an output, so that a cap holds over kills and runs.

    spend.json                     the whole output
    shards/<run>/spend-<n>.json    one shard of a run, until its amount moves into spend.json

The budget writes a record before it uses the money (limits/budget.py). A damaged record can't guard the cap, so it's an
error and never counts as 0.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

import orjson
from pydantic import Field, TypeAdapter

from promptmill.arrow import pc
from promptmill.checkpoints.answer_files import ZERO_USD
from promptmill.checkpoints.store import Listing, Store
from promptmill.errors import OutputError
from promptmill.state_files import StateFile

SPEND = "spend.json"
SHARDS = "shards"
_SHARD_SPEND = re.compile(rf"{SHARDS}/[^/]+/spend-\d+\.json")


@dataclass(frozen=True, slots=True)
class _Record:
    spent_at_most_usd: Annotated[Decimal, Field(ge=0)] = ZERO_USD
    counted: tuple[str, ...] = ()  # names of the shards' records that the amount includes


_RECORDS: StateFile[_Record] = StateFile(
    TypeAdapter(_Record),
    purpose="It says what may have been spent for the output, and so guards budget_usd.",
    way_on="Restore the file, or delete it: then only the cost of the stored answers counts as spent, without the money that a "
    "crash lost.",
    damaged=OutputError,
    required=("spent_at_most_usd",),
)


class SpendRecords:
    """The records of one output. All calls block; safe to use from many threads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, name: str = SPEND) -> Decimal:
        """US dollars that may have been spent by one record; 0 if there is none. Raises: OutputError if it is damaged."""
        return self._read(name).spent_at_most_usd

    def write(self, amount_usd: Decimal, name: str = SPEND, counted: Sequence[str] = ()) -> None:
        """Record the amount that may be spent; it includes the shards' records `counted`. Raises: StorageFailed."""
        self._store.write(name, orjson.dumps({"spent_at_most_usd": str(amount_usd), "counted": list(counted)}))

    def settle(self, listing: Listing) -> Decimal:
        """US dollars that may have been spent in all, by the answers or the records; moves the shards' records into spend.json.

        A kill between two steps counts nothing twice. Call it only while no shard is at work.
        Raises: StorageFailed; OutputError for a damaged record.
        """
        spent = self.spent_at_most(listing)
        if shards := _shard_records(listing):
            self.write(spent, counted=shards)
            self._store.delete(shards)
        return spent

    def spent_at_most(self, listing: Listing) -> Decimal:
        """US dollars that may have been spent in all: by the answers or by the records, whichever is more."""
        return max(self.cost_of_answers(listing), self.recorded(listing))

    def recorded(self, listing: Listing) -> Decimal:
        """US dollars that may have been spent in all, by the records."""
        record = self._read(SPEND)
        fresh = [name for name in _shard_records(listing) if name not in record.counted]
        return sum((self.read(name) for name in fresh), record.spent_at_most_usd)

    def lost_at_most(self, listing: Listing) -> Decimal:
        """US dollars that may have been spent without an answer. Raises: StorageFailed; OutputError for a damaged record."""
        return self.spent_at_most(listing) - self.cost_of_answers(listing)

    def cost_of_answers(self, listing: Listing) -> Decimal:
        """The cost of all stored answers, in US dollars."""
        names = [name for name in listing.sizes if name.endswith(".parquet")]
        costs = [pc.sum(table["cost_usd"]).as_py() for _, table in self._store.load_all(names, ["cost_usd"])]
        return sum((Decimal(cost) for cost in costs if cost is not None), ZERO_USD)

    def _read(self, name: str) -> _Record:
        record = _RECORDS.read(self._store.storage, name)
        return _Record() if record is None else record


def _shard_records(listing: Listing) -> list[str]:
    return [name for name in listing.sizes if _SHARD_SPEND.fullmatch(name)]
