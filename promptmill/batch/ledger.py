"""The ledger of an output's batches: one small record a batch, beside the checkpoints.

    _checkpoints/batches/<key>.json    the record: intent before the upload, then ids, statuses, outcome
    _checkpoints/batches/<key>.ids     the rows in the file: 8 bytes each, in the order of its lines
    _checkpoints/batches/<key>.left    the lines that brought no answer but may bring one next time
    _checkpoints/batches/_state.json   what holds for all of them
    _checkpoints/batches/_cancelled    somebody cancelled the job: no step submits or creates anything more

The cancellation is an object of its own: a step that runs meanwhile rewrites `_state.json`, and would undo it there.

Rows are named by a hash of their custom_id and not by place, so that a live batch is still understood after the input
has grown or `chunk_rows` has changed. A key is the digest of the file's bytes and a number, since rows that all expired
make the same file again. Intents are created only where there is none, so that two processes can't both take a file up.
"""

import logging
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from typing import Literal

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import TypeAdapter

from promptmill.batch.files import BatchFile
from promptmill.checkpoints.answer_files import decode_answers, encode_answers
from promptmill.errors import CheckpointUnreadable, StorageFailed
from promptmill.processes import this_process
from promptmill.state_files import StateFile
from promptmill.storage import STORAGE_ERRORS, Storage

_FOLDER = "batches/"
STATE = f"{_FOLDER}_state.json"
_CANCELLED = f"{_FOLDER}_cancelled"
log = logging.getLogger("promptmill")
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
    message: str = ""

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
    retry_before: float | None = None  # failures answered before are asked again
    retry_all: bool = True  # of every kind
    is_all_submitted: bool = False  # no row waits for room
    started_at: float = 0.0  # of the run under way, first of all its processes; 0 = none is
    is_cancelled: bool = False  # somebody cancelled the job: nothing more is submitted


RECORD: TypeAdapter[BatchRecord] = TypeAdapter(BatchRecord)
_RECORD_FILE = StateFile(
    RECORD,
    purpose="It says which batches the provider has of this job, and so what must not be paid for twice.",
    way_on="Restore the file, then run the same command again.",
    damaged=StorageFailed,
)
_STATE_FILE: StateFile[LedgerState] = StateFile(
    TypeAdapter(LedgerState),
    purpose="It says whether somebody cancelled the job's batches, and so guards against submitting more of them.",
    way_on="Restore the file, or, if the job may go on, delete it and run the same command again.",
    damaged=StorageFailed,
    required=("is_cancelled",),
)


@dataclass(slots=True)
class Ledger:
    """All batches of one output. All calls but the properties block."""

    storage: Storage  # the checkpoints' folder
    records: dict[str, BatchRecord] = field(default_factory=dict[str, BatchRecord])
    state: LedgerState = field(default_factory=LedgerState)

    @property
    def live(self) -> list[BatchRecord]:
        """Batches that may still answer rows, oldest first."""
        return sorted(
            (record for record in self.records.values() if record.is_live),
            key=lambda record: (record.packed_at, record.key),
        )

    @property
    def collected(self) -> list[BatchRecord]:
        """Batches whose results are saved."""
        return [record for record in self.records.values() if record.state == "collected"]

    def load(self) -> "Ledger":
        """Read everything again; returns itself. Raises: StorageFailed for a file that is damaged or can't be read."""
        try:
            found = self.storage.sizes(_FOLDER.rstrip("/"))
        except STORAGE_ERRORS as error:
            raise _unreadable(self.storage, _FOLDER, error) from error
        names = [name for name in found if name.endswith(".json") and name != STATE]
        self.records = {record.key: record for record in map(self._read, names)}
        state = _STATE_FILE.read(self.storage, STATE)
        self.state = LedgerState() if state is None else state
        self.look_for_cancellation()
        return self

    def intend(self, file: BatchFile, now: float) -> BatchRecord | None:
        """Record that a file will be submitted; None when another process has taken it up. Raises: StorageFailed."""
        now = max(now, self.state.started_at)  # of a machine whose clock may be ahead of ours
        number = sum(key.startswith(file.digest) for key in self.records)
        key = f"{file.digest}-{number}"
        sizes = (file.requests, file.bytes, file.input_tokens, file.reserved_usd)
        record = BatchRecord(key, *sizes, packed_at=now, owner=this_process(), changed_at=now)
        self._write(f"{_FOLDER}{key}.ids", file.ids.astype("<u8").tobytes())
        try:
            is_ours = self.storage.create(f"{_FOLDER}{key}.json", RECORD.dump_json(record))
        except STORAGE_ERRORS as error:
            raise _unwritable(self.storage, f"{_FOLDER}{key}.json", error) from error
        if is_ours:
            self.records[key] = record
        return record if is_ours else None

    def save(self, record: BatchRecord, now: float) -> BatchRecord:
        """Replace a record. Raises: StorageFailed."""
        record = replace(record, changed_at=now, owner=this_process())
        self._write(f"{_FOLDER}{record.key}.json", RECORD.dump_json(record))
        self.records[record.key] = record
        return record

    def cancel(self) -> None:
        """Tell every step, running ones too, to submit and create nothing more. Raises: StorageFailed."""
        self._write(_CANCELLED, b"")
        self.save_state(replace(self.state, is_cancelled=True))

    def look_for_cancellation(self) -> bool:
        """Whether somebody has cancelled the job, in this process or in another one. Raises: StorageFailed."""
        if not self.state.is_cancelled:
            try:
                self.storage.read(_CANCELLED)
            except FileNotFoundError:
                return False
            except STORAGE_ERRORS as error:
                raise _unreadable(self.storage, _CANCELLED, error) from error
            self.state = replace(self.state, is_cancelled=True)
        return True

    def restart(self, state: LedgerState) -> None:
        """Begin or close a run: replace what holds for all batches and forget a cancellation. Raises: StorageFailed."""
        try:
            self.storage.delete([_CANCELLED])
        except STORAGE_ERRORS as error:
            raise _unwritable(self.storage, _CANCELLED, error) from error
        self.save_state(state)

    def save_state(self, state: LedgerState) -> None:
        """Replace what holds for all batches. Raises: StorageFailed."""
        if state != self.state:
            self._write(STATE, orjson.dumps(asdict(state)))
            self.state = state

    def ids(self, record: BatchRecord) -> NDArray[np.uint64]:
        """Hashes of the rows in a batch's file, in the order of its lines. Raises: StorageFailed."""
        name = f"{_FOLDER}{record.key}.ids"
        try:
            found = np.frombuffer(self.storage.read(name), "<u8").astype(np.uint64)
        except (*STORAGE_ERRORS, ValueError) as error:
            raise _unreadable(self.storage, name, error) from error
        if len(found) != record.requests:
            raise _unreadable(self.storage, name, ValueError(f"{len(found)} rows for {record.requests} requests"))
        return found

    def save_leftovers(self, record: BatchRecord, leftovers: pa.Table) -> None:
        """Keep why rows of a batch got no answer. Raises: StorageFailed."""
        self._write(f"{_FOLDER}{record.key}.left", encode_answers(leftovers))

    def leftovers(self, record: BatchRecord) -> pa.Table | None:
        """Why rows of a batch got no answer; None when nothing was kept. Raises: StorageFailed."""
        name = f"{_FOLDER}{record.key}.left"
        try:
            return decode_answers(self.storage.read(name))
        except FileNotFoundError:
            return None
        except CheckpointUnreadable as error:
            log.warning("%s/%s is damaged (%s). The reasons it held are lost.", self.storage.shown, name, error)
            return None
        except STORAGE_ERRORS as error:
            raise _unreadable(self.storage, name, error) from error

    def _read(self, name: str) -> BatchRecord:
        record = _RECORD_FILE.read(self.storage, name)
        if record is None:
            raise _unreadable(self.storage, name, FileNotFoundError("it is missing"))
        return record

    def _write(self, name: str, data: bytes) -> None:
        try:
            self.storage.write(name, data)
        except STORAGE_ERRORS as error:
            raise _unwritable(self.storage, name, error) from error


def _unreadable(storage: Storage, name: str, error: Exception) -> StorageFailed:
    return StorageFailed(
        f"{storage.shown}/{name} can't be read: {storage.describe(error)}. It says which batches the provider has of "
        "this job, and so what must not be paid for twice. Run the same command again; if the file is damaged, restore it."
    )


def _unwritable(storage: Storage, name: str, error: Exception) -> StorageFailed:
    return StorageFailed(
        f"{storage.shown}/{name} can't be written: {storage.describe(error)}. No batch is submitted that can't be "
        "written down first. Make room or give access, then run the same command again."
    )
