"""Where answers are kept until they are published, and found again: `_checkpoints/` beside the output.

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
    shards/                          what shards of a run are told and tell (sharding/folder.py), and what each may have spent

Answers are looked up by custom_id and not only by chunk, so that rows answered under other chunk bounds, in a sample or
before rows were inserted are reused too.
"""

import secrets
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
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

    def is_begun(self, key: str) -> bool:
        """Whether answers of that chunk are kept, all or some."""
        return f"{key}.parquet" in self.sizes or key in self.unfinished

    @property
    def finished(self) -> list[str]:
        """The keys of all chunks whose answers are kept in one file, whatever input or job they are of."""
        return [name.removesuffix(".parquet") for name in self.sizes if "/" not in name and name.endswith(".parquet")]

    def loose(self, keys: Iterable[str], others: Collection[str] = ()) -> list[str]:
        """Answer files that are no finished chunk of these keys; of `others`, which somebody else answers, none at all."""
        planned = {f"{key}.parquet" for key in keys}  # batches/ has the ledger of batches, which holds no answers
        unwanted = planned.union(*(self.unfinished.get(key, ()) for key in others))
        return sorted(name for name in self.sizes if name.endswith(".parquet") and name not in unwanted)


class Store:
    """The answers of one output. All calls block; safe to use from many threads."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.damaged: set[str] = set()  # names of files that were there and couldn't be believed

    def listing(self) -> Listing:
        """What there is now. Raises: StorageFailed."""
        try:
            return Listing.of(self.storage.sizes())
        except STORAGE_ERRORS as error:
            raise StorageFailed(
                f"{self.storage.shown} can't be listed: {self.storage.describe(error)}. It holds the answers that are kept. "
                "Give access, then run the same command again."
            ) from error

    def save_rows(self, key: str, answers: pa.Table) -> str:
        """Keep answers of a chunk under way; returns their name. Raises: StorageFailed."""
        name = f"{ROWS}{key}-{secrets.token_hex(6)}.parquet"
        self.write(name, encode_answers(answers))
        return name

    def save_slice(self, name: str, answers: pa.Table, prefix: str = BATCH_ROWS) -> str:
        """Keep answers under a name of the caller's, so that saving them again changes nothing; returns the whole name.

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
        """The answers in a file. Raises: CheckpointUnreadable when it's missing or damaged; StorageFailed."""
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
        """All answers of a finished chunk, in row order, and none of another chunk's.

        A file names its chunk. In a file of an earlier version the custom_ids do, since a key is their digest, unless some
        of the chunk's rows share an id's digest with earlier rows (`has_repetitions`).

        Raises: CheckpointUnreadable when the file is missing, damaged or holds the answers of other rows; StorageFailed.
        """
        name = f"{key}.parquet"
        answers, named = self._decode(name)
        is_ours = named == key if named is not None else has_repetitions or chunk_key(_ids(answers)) == key
        if not is_ours:
            self.damaged.add(name)
            raise CheckpointUnreadable(f"{self.storage.shown}/{name} holds the answers of other rows")
        return answers

    def load_all(self, names: Sequence[str], columns: Sequence[str]) -> list[tuple[str, pa.Table]]:
        """These columns of many files, without those that can't be read."""

        def read(name: str) -> tuple[str, pa.Table] | None:
            try:
                return name, self.load(name, columns)
            except CheckpointUnreadable:
                return None

        with ThreadPoolExecutor(_READERS) as readers:
            return [found for found in readers.map(read, names) if found is not None]

    def delete(self, names: Iterable[str]) -> None:
        """Remove objects; those that are gone are no error. Raises: StorageFailed."""
        try:
            self.storage.delete(names)
        except STORAGE_ERRORS as error:
            raise StorageFailed(
                f"{self.storage.shown} lets nothing be removed: {self.storage.describe(error)}. Give access, then run the "
                "same command again: every answer is kept."
            ) from error

    def write(self, name: str, data: bytes) -> None:
        """Publish an object whole or not at all. Raises: StorageFailed."""
        try:
            self.storage.write(name, data)
        except STORAGE_ERRORS as error:
            raise StorageFailed(
                f"{self.storage.shown}/{name} ({len(data):,} bytes) can't be written: {self.storage.describe(error)}. Make "
                "room or give access, then run the same command again: what was saved before is kept."
            ) from error


def _ids(answers: pa.Table) -> list[str]:
    return answers["custom_id"].to_pylist()
