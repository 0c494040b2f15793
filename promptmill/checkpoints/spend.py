"""What may have been spent for an output: records of money beside the answers, so that a cap holds over kills and runs.

    spend.json                     of the whole output
    shards/<run>/spend-<n>.json    of one shard of a run, until it is moved into the one above

A record is written before its money is used (limits/budget.py). A record that is torn guards the cap no longer, so it is
an error and never 0.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import orjson
from pydantic import TypeAdapter, ValidationError

from promptmill.arrow import pc
from promptmill.checkpoints.answer_files import ZERO_USD
from promptmill.checkpoints.store import Listing, Store
from promptmill.errors import OutputError, StorageFailed
from promptmill.storage import STORAGE_ERRORS

SPEND = "spend.json"
SHARDS = "shards"
_SHARD_SPEND = re.compile(rf"{SHARDS}/[^/]+/spend-\d+\.json")


@dataclass(frozen=True, slots=True)
class _Record:
    spent_at_most_usd: Decimal = ZERO_USD
    counted: tuple[str, ...] = ()  # names of shards' records that the amount includes


_RECORDS: TypeAdapter[_Record] = TypeAdapter(_Record)


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
        record = self._read(SPEND)
        fresh = [name for name in _shard_records(listing) if name not in record.counted]
        recorded = sum((self.read(name) for name in fresh), record.spent_at_most_usd)
        return max(self.cost_of_answers(listing), recorded)

    def cost_of_answers(self, listing: Listing) -> Decimal:
        """The cost of all answers that are kept."""
        names = [name for name in listing.sizes if name.endswith(".parquet")]
        sums = [pc.sum(table["cost_usd"]).as_py() for _, table in self._store.load_all(names, ["cost_usd"])]
        return sum((Decimal(one) for one in sums if one is not None), ZERO_USD)

    def _read(self, name: str) -> _Record:
        try:
            return _RECORDS.validate_json(self._store.storage.read(name))
        except FileNotFoundError:
            return _Record()
        except STORAGE_ERRORS as error:
            raise StorageFailed(
                f"{self._store.storage.url}/{name} can't be read: {error}. It says what may have been spent for the "
                "output. Give access, then run the same command again."
            ) from error
        except ValidationError as error:
            raise OutputError(
                f"{self._store.storage.url}/{name} is damaged. It says what may have been spent for the output, and so "
                "guards budget_usd. Restore the file, or delete it: then the cost of the answers that are kept counts as "
                "spent, and what was lost to a crash doesn't."
            ) from error


def _shard_records(listing: Listing) -> list[str]:
    return [name for name in listing.sizes if _SHARD_SPEND.fullmatch(name)]
