"""What may have been spent for an output: records of money beside the answers, so that a cap holds over kills and runs.

    spend.json                     of the whole output
    shards/<run>/spend-<n>.json    of one shard of a run, until it is moved into the one above

A record is written before its money is used (limits/budget.py). A damaged record guards the cap no longer, so it's an
error and never 0.
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
    counted: tuple[str, ...] = ()  # names of shards' records that the amount includes


_RECORDS: StateFile[_Record] = StateFile(
    TypeAdapter(_Record),
    purpose="It says what may have been spent for the output, and so guards budget_usd.",
    way_on="Restore the file, or delete it: then the cost of the answers that are kept counts as spent, and what was lost "
    "to a crash doesn't.",
    damaged=OutputError,
    required=("spent_at_most_usd",),
)


class SpendRecords:
    """The records of one output. All calls block; safe to use from many threads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, name: str = SPEND) -> Decimal:
        """What may have been spent by one record; 0 where there is none. Raises: OutputError when it can't be known."""
        return self._read(name).spent_at_most_usd

    def write(self, amount_usd: Decimal, name: str = SPEND, counted: Sequence[str] = ()) -> None:
        """Record what may be spent from now on; `counted` are records of shards that it includes. Raises: StorageFailed."""
        self._store.write(name, orjson.dumps({"spent_at_most_usd": str(amount_usd), "counted": list(counted)}))

    def settle(self, listing: Listing) -> Decimal:
        """What may have been spent in all, by the answers or by the records; shards' records are moved into the one.

        A kill between two steps makes none count twice. Call it only while no shard is at work.
        Raises: StorageFailed; OutputError when it can't be known.
        """
        spent = self.spent_at_most(listing)
        if shards := _shard_records(listing):
            self.write(spent, counted=shards)
            self._store.delete(shards)
        return spent

    def spent_at_most(self, listing: Listing) -> Decimal:
        """What may have been spent in all, by the answers or by the records, whichever is more."""
        return max(self.cost_of_answers(listing), self.recorded(listing))

    def recorded(self, listing: Listing) -> Decimal:
        """What may have been spent in all, by the records."""
        record = self._read(SPEND)
        fresh = [name for name in _shard_records(listing) if name not in record.counted]
        return sum((self.read(name) for name in fresh), record.spent_at_most_usd)

    def lost_at_most(self, listing: Listing) -> Decimal:
        """What may have been spent in all and left no answer. Raises: StorageFailed; OutputError when it can't be known."""
        return self.spent_at_most(listing) - self.cost_of_answers(listing)

    def cost_of_answers(self, listing: Listing) -> Decimal:
        """The cost of all answers that are kept."""
        names = [name for name in listing.sizes if name.endswith(".parquet")]
        costs = [pc.sum(table["cost_usd"]).as_py() for _, table in self._store.load_all(names, ["cost_usd"])]
        return sum((Decimal(cost) for cost in costs if cost is not None), ZERO_USD)

    def _read(self, name: str) -> _Record:
        record = _RECORDS.read(self._store.storage, name)
        return _Record() if record is None else record


def _shard_records(listing: Listing) -> list[str]:
    return [name for name in listing.sizes if _SHARD_SPEND.fullmatch(name)]
