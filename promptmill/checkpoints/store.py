"""Stores answers until they are published, and finds them again: `_checkpoints/` beside the output.

    <chunk key>.parquet              all answers of a finished chunk, in row order
    <chunk key>.json                 Prefect's result: the record of that chunk (tasks/server/checkpoint_storage.py)
    rows/<chunk key>-<random>.parquet   answers of a chunk under way
    spend.json                       what may have been spent, where the job has a budget
    ledger/                          what processes paid for and may have lost (checkpoints/accounts.py)
    chunk_rows.json                  how many rows the chunks have (planning/kept_size.py)
    plan.json                        the plan of the rows, for the next run (planning/kept_plan.py)
    table_versions.json              the versions of the tables that a run reads (planning/pinned_versions.py)
    approved.json                    what a person approved to be spent (limits/approved_cap.py)
    lease/                           which run works on the output (checkpoints/output_lease.py)
    batches/                         the ledger of batches at the provider (batch/ledger.py)
    shards/                          plans and outcomes of a run's shards (sharding/folder.py), and what each may have spent

The store looks up answers by custom_id and not only by chunk. So a run also reuses answers from other chunk bounds, from
a sample, or from before rows were inserted.
"""

import secrets
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from promptmill.checkpoints.answer_files import decode_chunk, encode_answers
from promptmill.errors import CheckpointUnreadable, StorageFailed
from promptmill.job.identity import chunk_key
from promptmill.storage import STORAGE_ERRORS, Storage

_READERS = 16  # answer files read at once; each is a request to an object store
ROWS = "rows/"
BATCH_ROWS = f"{ROWS}batch-"  # answers collected from a batch, of many chunks
CACHE_ROWS = f"{ROWS}cache-"  # answers taken from a cache, likewise


@dataclass(frozen=True, slots=True)
class Listing:
    """The files in the store at the time of a listing."""

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
        """Whether one file holds all answers of the chunk, and no other file holds any."""
        return f"{key}.parquet" in self.sizes and key not in self.unfinished

    def is_begun(self, key: str) -> bool:
        """Whether the store has some or all answers of the chunk."""
        return f"{key}.parquet" in self.sizes or key in self.unfinished

    @property
    def finished(self) -> list[str]:
        """The keys of all chunks with a file of their own, of any input and job."""
        return [name.removesuffix(".parquet") for name in self.sizes if "/" not in name and name.endswith(".parquet")]

    def loose(self, keys: Iterable[str], others: Collection[str] = ()) -> list[str]:
        """The answer files, except finished chunks with these keys and all files of the chunks `others`."""
        planned = {f"{key}.parquet" for key in keys}  # batches/ is the ledger of batches and holds no answers
        unwanted = planned.union(*(self.unfinished.get(key, ()) for key in others))
        return sorted(name for name in self.sizes if name.endswith(".parquet") and name not in unwanted)


class Store:
    """The answers of one output. All calls block; safe to use from many threads."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.damaged: set[str] = set()  # names of damaged files

    def listing(self) -> Listing:
        """List the store. Raises: StorageFailed."""
        try:
            return Listing.of(self.storage.sizes())
        except STORAGE_ERRORS as error:
            raise StorageFailed(
                f"{self.storage.shown} can't be listed: {self.storage.describe(error)}. It holds the stored answers. "
                "Give access, then run the same command again."
            ) from error

    def save_rows(self, key: str, answers: pa.Table) -> str:
        """Keep answers of a chunk under way; returns their name. Raises: StorageFailed."""
        name = f"{ROWS}{key}-{secrets.token_hex(6)}.parquet"
        self.write(name, encode_answers(answers))
        return name

    def save_slice(self, name: str, answers: pa.Table, prefix: str = BATCH_ROWS) -> str:
        """Keep answers under the caller's name for them, so that a second save changes nothing; returns the whole name.

        Raises: StorageFailed.
        """
        whole = f"{prefix}{name}.parquet"
        self.write(whole, encode_answers(answers))
        return whole

    def save_chunk(self, key: str, answers: pa.Table, replaced: Iterable[str]) -> int:
        """Keep all answers of a chunk and drop the files they replace; returns bytes. Raises: StorageFailed."""
        data = encode_answers(answers, key)
        self.write(f"{key}.parquet", data)
        self.delete(replaced)
        return len(data)

    def load(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The answers in a file. Raises: CheckpointUnreadable if the file is missing or damaged; StorageFailed."""
        return self._decode(name, columns)[0]

    def _read(self, name: str) -> bytes:
        try:
            return self.storage.read(name)
        except FileNotFoundError as error:
            raise CheckpointUnreadable(f"{self.storage.shown}/{name} is missing") from error
        except STORAGE_ERRORS as error:
            raise StorageFailed(
                f"{self.storage.shown}/{name} can't be read: {self.storage.describe(error)}. Run the same command again: "
                "every answer is kept."
            ) from error

    def _decode(self, name: str, columns: Sequence[str] | None = None) -> tuple[pa.Table, str | None]:
        """The answers in a file and the chunk that it names."""
        data = self._read(name)
        try:
            return decode_chunk(data, columns)
        except CheckpointUnreadable:
            self.damaged.add(name)
            raise

    def load_chunk(self, key: str, has_repetitions: bool = False) -> pa.Table:
        """All answers of a finished chunk, in row order.

        The file names its chunk. A file of an earlier version doesn't, so we compare the digest of its custom_ids with the
        key, unless some of the chunk's rows share an id's digest with earlier rows (`has_repetitions`).

        Raises: CheckpointUnreadable when the file is missing, damaged or holds the answers of other rows; StorageFailed.
        """
        name = f"{key}.parquet"
        answers, named = self._decode(name)
        is_ours = named == key if named is not None else has_repetitions or chunk_key(_ids(answers)) == key
        if not is_ours:
            self.damaged.add(name)
            raise CheckpointUnreadable(f"{self.storage.shown}/{name} holds the answers of other rows")
        return answers

    def load_all(self, names: Iterable[str], columns: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
        """These columns of many files, in order, few files at once; leaves out files that can't be read.

        Raises: StorageFailed, while it is iterated.
        """

        def read(name: str) -> tuple[str, pa.Table] | None:
            try:
                return name, self.load(name, columns)
            except CheckpointUnreadable:
                return None

        with ThreadPoolExecutor(_READERS) as readers:
            under_way: deque[Future[tuple[str, pa.Table] | None]] = deque()
            for name in names:
                under_way.append(readers.submit(read, name))
                if len(under_way) > 2 * _READERS and (found := under_way.popleft().result()) is not None:
                    yield found
            yield from (found for future in under_way if (found := future.result()) is not None)

    def delete(self, names: Iterable[str]) -> None:
        """Remove objects; a missing object is no error. Raises: StorageFailed."""
        try:
            self.storage.delete(names)
        except STORAGE_ERRORS as error:
            raise StorageFailed(
                f"{self.storage.shown} lets nobody remove files: {self.storage.describe(error)}. Give access, then run the "
                "same command again: every answer is kept."
            ) from error

    def write(self, name: str, data: bytes) -> None:
        """Publish an object whole or not at all. Raises: StorageFailed."""
        try:
            self.storage.write(name, data)
        except STORAGE_ERRORS as error:
            raise StorageFailed(
                f"{self.storage.shown}/{name} ({len(data):,} bytes) can't be written: {self.storage.describe(error)}. Make "
                "room or give access, then run the same command again: saved answers are kept."
            ) from error


def _ids(answers: pa.Table) -> list[str]:
    return answers["custom_id"].to_pylist()
