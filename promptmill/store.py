"""Where answers are kept until they are published, and found again: `_checkpoints/` beside the output.

    <chunk key>.parquet              all answers of a finished chunk, in row order
    <chunk key>.json                 Prefect's result: the record of that chunk (tasks/persistence.py)
    rows/<chunk key>-<random>.parquet   answers of a chunk under way
    spend.json                       what may have been spent, where the job has a budget
    approved.json                    what a person approved to be spent (approved.py)
    batches/                         the ledger of batches at the provider (batch_ledger.py)
    shards/                          what shards of a run are told and tell (shard_folder.py), and what each may have spent

Answers are looked up by custom_id and not only by chunk, so that rows answered under other chunk bounds, in a sample or
before rows were inserted are reused too.
"""

import re
import secrets
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, cast

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from promptmill.answers import ANSWERS, ZERO_USD, decode_answers, encode_answers, merge_answers
from promptmill.arrow import pc
from promptmill.errors import CheckpointUnreadable, StorageFailed
from promptmill.storage import STORAGE_ERRORS, Storage

READERS = 16  # answer files read at once; each is a request to an object store
SPEND = "spend.json"
SHARDS = "shards"
SHARD_SPEND = re.compile(rf"{SHARDS}/[^/]+/spend-\d+\.json")
ROWS = "rows/"
BATCH_ROWS = f"{ROWS}batch-"  # answers collected from a batch, of many chunks


@dataclass(frozen=True, slots=True)
class Listing:
    """What lay in the store when it was listed."""

    sizes: dict[str, int]  # name → bytes
    unfinished: dict[str, list[str]]  # chunk key → names of its answer files under way

    @staticmethod
    def of(sizes: dict[str, int]) -> "Listing":
        """A listing of names and bytes."""
        found: dict[str, list[str]] = defaultdict(list)
        for name in sizes:
            if name.startswith(ROWS) and name.endswith(".parquet"):
                found[name.removeprefix(ROWS).split("-")[0]].append(name)
        return Listing(sizes, dict(found))

    def is_finished(self, key: str) -> bool:
        """Whether all answers of that chunk are kept in one file, and none besides."""
        return f"{key}.parquet" in self.sizes and key not in self.unfinished

    def loose(self, keys: Iterable[str], others: Collection[str] = ()) -> list[str]:
        """Answer files that are no finished chunk of these keys; of `others`, which somebody else answers, none at all."""
        planned = {f"{key}.parquet" for key in keys}  # batches/ has the ledger of batches, which holds no answers
        unwanted = planned.union(*(self.unfinished.get(key, ()) for key in others))
        return sorted(name for name in self.sizes if name.endswith(".parquet") and name not in unwanted)


class Store:
    """The answers of one output. All calls block; safe to use from many threads."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def listing(self) -> Listing:
        """What there is now."""
        return Listing.of(self.storage.sizes())

    def save_rows(self, key: str, answers: pa.Table) -> str:
        """Keep answers of a chunk under way; returns their name. Raises: StorageFailed."""
        name = f"{ROWS}{key}-{secrets.token_hex(6)}.parquet"
        self._write(name, encode_answers(answers))
        return name

    def save_slice(self, name: str, answers: pa.Table) -> str:
        """Keep answers under a name of the caller's, so that saving them again changes nothing; returns the whole name.

        Raises: StorageFailed.
        """
        whole = f"{BATCH_ROWS}{name}.parquet"
        self._write(whole, encode_answers(answers))
        return whole

    def save_chunk(self, key: str, answers: pa.Table, replaced: Iterable[str]) -> int:
        """Keep all answers of a chunk and drop the files they replace; returns bytes. Raises: StorageFailed."""
        data = encode_answers(answers)
        self._write(f"{key}.parquet", data)
        self.storage.delete(replaced)
        return len(data)

    def load(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The answers in a file. Raises: CheckpointUnreadable when it is missing, torn or foreign."""
        try:
            data = self.storage.read(name)
        except FileNotFoundError as error:
            raise CheckpointUnreadable(f"{self.storage.url}/{name} is missing") from error
        except STORAGE_ERRORS as error:
            raise StorageFailed(
                f"{self.storage.url}/{name} can't be read: {error}. Run the same command again."
            ) from error
        return decode_answers(data, columns)

    def load_chunk(self, key: str) -> pa.Table:
        """All answers of a finished chunk, in row order. Raises: CheckpointUnreadable."""
        return self.load(f"{key}.parquet")

    def load_all(self, names: Sequence[str], columns: Sequence[str]) -> list[tuple[str, pa.Table]]:
        """These columns of many files, without those that can't be read."""

        def read(name: str) -> tuple[str, pa.Table] | None:
            try:
                return name, self.load(name, columns)
            except CheckpointUnreadable:
                return None

        with ThreadPoolExecutor(READERS) as readers:
            return [found for found in readers.map(read, names) if found is not None]

    def read_spend(self, name: str = SPEND) -> Decimal:
        """What may have been spent by one record; 0 where there is none."""
        return _amount(self._read_record(name))

    def write_spend(self, amount_usd: Decimal, name: str = SPEND, counted: Sequence[str] = ()) -> None:
        """Record what may be spent from now on; `counted` are records of shards that it includes. Raises: StorageFailed."""
        self._write(name, orjson.dumps({"spent_at_most_usd": str(amount_usd), "counted": list(counted)}))

    def settle_spend(self, listing: Listing) -> Decimal:
        """What may have been spent in all, by the answers or by the records; those of shards are moved into the one.

        Killed between two steps, it counts none twice. Only while no shard is at work. Raises: StorageFailed.
        """
        spent = self.spent_at_most(listing)
        if shards := [name for name in listing.sizes if SHARD_SPEND.fullmatch(name)]:
            self.write_spend(spent, counted=shards)
            self.storage.delete(shards)
        return spent

    def spent_at_most(self, listing: Listing) -> Decimal:
        """What may have been spent in all, by the answers or by the records, whichever is more."""
        record = self._read_record(SPEND)
        shards = [name for name in listing.sizes if SHARD_SPEND.fullmatch(name)]
        fresh = [name for name in shards if name not in record.get("counted", ())]
        return max(self.known_spend(listing), sum((self.read_spend(name) for name in fresh), _amount(record)))

    def known_spend(self, listing: Listing) -> Decimal:
        """The cost of all answers that are kept."""
        names = [name for name in listing.sizes if name.endswith(".parquet")]
        sums = [pc.sum(table["cost_usd"]).as_py() for _, table in self.load_all(names, ["cost_usd"])]
        return sum((Decimal(one) for one in sums if one is not None), ZERO_USD)

    def _read_record(self, name: str) -> dict[str, Any]:
        try:
            found = orjson.loads(self.storage.read(name))
        except (FileNotFoundError, orjson.JSONDecodeError):
            return {}
        return cast(dict[str, Any], found) if isinstance(found, dict) else {}

    def _write(self, name: str, data: bytes) -> None:
        try:
            self.storage.write(name, data)
        except STORAGE_ERRORS as error:
            raise StorageFailed(
                f"{self.storage.url}/{name} ({len(data):,} bytes) can't be written: {error}. Make room or give access, "
                "then run the same command again: what was saved before is kept."
            ) from error


class AnswerIndex:
    """Which loose file holds the answer of which row: 12 bytes a row, whatever the answers' size."""

    def __init__(self, store: Store, names: Sequence[str]) -> None:
        self._store = store
        self._last: tuple[int, pa.Table] | None = None  # number and answers of the file that was read last
        self._names: list[str] = []
        hashes: list[NDArray[np.uint64]] = []
        files: list[NDArray[np.uint32]] = []
        for name, table in store.load_all(names, ["custom_id"]):
            found = np.fromiter(
                (hash_custom_id(one) for one in table["custom_id"].to_pylist()), np.uint64, table.num_rows
            )
            hashes.append(found)
            files.append(np.full(len(found), len(self._names), np.uint32))
            self._names.append(name)
        joined = np.concatenate(hashes) if hashes else np.empty(0, np.uint64)
        order = np.argsort(joined, kind="stable")
        self._hashes = joined[order]
        self._files = np.concatenate(files)[order] if files else np.empty(0, np.uint32)
        self._asked = np.zeros(len(joined), np.bool_)

    def find(self, custom_ids: Sequence[str]) -> pa.Table:
        """The answers that loose files hold for these rows, each once."""
        if not len(self._hashes):
            return ANSWERS.empty_table()
        wanted = np.fromiter((hash_custom_id(one) for one in custom_ids), np.uint64, len(custom_ids))
        low = np.searchsorted(self._hashes, wanted, "left")
        high = np.searchsorted(self._hashes, wanted, "right")
        for start, stop in zip(low, high, strict=True):
            self._asked[start:stop] = True
        numbers = {int(self._files[i]) for start, stop in zip(low, high, strict=True) for i in range(start, stop)}
        ids = pa.array(custom_ids, pa.string())
        tables: list[pa.Table] = []
        for number in sorted(numbers):
            try:
                table = self._load(number)
            except CheckpointUnreadable:
                continue
            tables.append(table.filter(pc.is_in(table["custom_id"], ids)))
        return merge_answers(tables)

    def used_up(self, prefix: str) -> list[str]:
        """Names of the files, of those with this prefix, of which every answer was asked for."""
        left = set(self._files[~self._asked].tolist())
        return [name for number, name in enumerate(self._names) if number not in left and name.startswith(prefix)]

    def _load(self, number: int) -> pa.Table:
        """A file's answers; the last one is kept, since neighbouring chunks lie in it too."""
        last = self._last
        if last is not None and last[0] == number:
            return last[1]
        table = self._store.load(self._names[number])
        self._last = (number, table)
        return table


def _amount(record: Mapping[str, Any]) -> Decimal:
    """What a record of spending says; 0 for one that is torn or foreign."""
    try:
        return Decimal(str(record["spent_at_most_usd"]))
    except (KeyError, InvalidOperation):
        return ZERO_USD


def hash_custom_id(custom_id: str) -> int:
    """64 bits of a custom_id; a foreign name that isn't one hashes to something that is never asked for."""
    try:
        return int(custom_id[:8] + custom_id[-8:], 16)
    except ValueError:
        return 0
