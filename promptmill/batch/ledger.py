"""The ledger of an output's batches: one small record a batch, beside the checkpoints.

    _checkpoints/batches/<key>.json    the record: intent before the upload, then ids, statuses, outcome
    _checkpoints/batches/<key>.ids     the rows in the file: 8 bytes each, in the order of its lines
    _checkpoints/batches/<key>.tokens  how long the rows' texts are: 4 bytes each, in the same order
    _checkpoints/batches/<key>.left    the lines that brought no answer but may bring one next time
    _checkpoints/batches/<key>.open    what became of each line, where some brought no answer: 1 byte each
    _checkpoints/batches/<key>.<plan>.rows   the numbers of the rows in the file, by the plan of that id
    _checkpoints/batches/_plan         the result of the last whole plan of the input (plan_record.py)
    _checkpoints/batches/_state.json   the state that all batches share
    _checkpoints/batches/_cancelled    somebody cancelled the job: no step submits or creates anything more

The cancellation is an object of its own, because a running step rewrites `_state.json` and would undo it there.

The ledger names a row by the hash of its custom_id and not by its place, so that it still understands a live batch after
the input has grown or `chunk_rows` has changed. A key is the digest of the file's bytes and a number, because rows that all
expired make the same file again. An intent is created only if none exists, so two processes can't both submit a file.
"""

import logging
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import TypeAdapter

from promptmill.batch.files import BatchFile
from promptmill.batch.ledger_errors import unreadable, unwritable
from promptmill.batch.record import BatchRecord, LedgerState, State
from promptmill.batch.row_numbers import decode_numbers, decode_outcomes, encode_numbers, encode_outcomes
from promptmill.checkpoints.answer_files import decode_answers, encode_answers
from promptmill.errors import CheckpointUnreadable, StorageFailed
from promptmill.processes import this_process
from promptmill.state_files import StateFile
from promptmill.storage import STORAGE_ERRORS, Storage

__all__ = ["BatchRecord", "Ledger", "LedgerState", "State"]  # most import the records together with their ledger

_FOLDER = "batches/"
STATE = f"{_FOLDER}_state.json"
_CANCELLED = f"{_FOLDER}_cancelled"
log = logging.getLogger("promptmill")
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
    """All batches of one output. Every method blocks; the properties don't."""

    storage: Storage  # the folder of the checkpoints
    records: dict[str, BatchRecord] = field(default_factory=dict[str, BatchRecord])
    state: LedgerState = field(default_factory=LedgerState)
    numbered: set[str] = field(default_factory=set[str])  # names of the files that hold row numbers

    @property
    def live(self) -> list[BatchRecord]:
        """Batches that may still answer rows, oldest first."""
        return sorted(
            (record for record in self.records.values() if record.is_live),
            key=lambda record: (record.packed_at, record.key),
        )

    @property
    def of_this_run(self) -> list[BatchRecord]:
        """Batches that took rows of the run under way, oldest first."""
        since = self.state.started_at
        records = (
            record for record in self.records.values() if record.packed_at >= since and record.state != "dropped"
        )
        return sorted(records, key=lambda record: (record.packed_at, record.key))

    @property
    def collected(self) -> list[BatchRecord]:
        """Batches whose results are saved."""
        return [record for record in self.records.values() if record.state == "collected"]

    def load(self) -> "Ledger":
        """Read everything again; returns itself. Raises: StorageFailed for a file that is damaged or can't be read."""
        try:
            found = self.storage.sizes(_FOLDER.rstrip("/"))
        except STORAGE_ERRORS as error:
            raise unreadable(self.storage, _FOLDER, error) from error
        names = [name for name in found if name.endswith(".json") and name != STATE]
        self.numbered = {name for name in found if name.endswith(".rows")}
        self.records = {record.key: record for record in map(self._read, names)}
        state = _STATE_FILE.read(self.storage, STATE)
        self.state = LedgerState() if state is None else state
        self.look_for_cancellation()
        return self

    def intend(self, file: BatchFile, now: float, *, endpoint: str, is_canary: bool = False) -> BatchRecord | None:
        """Record that a file will be submitted; None if another process has done so. Raises: StorageFailed."""
        now = max(now, self.state.started_at)  # the other machine's clock may be ahead of ours
        number = sum(key.startswith(file.digest) for key in self.records)
        key = f"{file.digest}-{number}"
        sizes = (file.requests, file.bytes, file.input_tokens, file.reserved_usd)
        record = BatchRecord(
            key, *sizes, packed_at=now, owner=this_process(), changed_at=now, endpoint=endpoint, is_canary=is_canary
        )
        self._write(f"{_FOLDER}{key}.ids", file.ids.astype("<u8").tobytes())
        self.save_numbers(key, file.plan, file.rows)
        self._write(f"{_FOLDER}{key}.tokens", file.text_tokens.astype("<u4").tobytes())
        try:
            is_ours = self.storage.create(f"{_FOLDER}{key}.json", RECORD.dump_json(record))
        except STORAGE_ERRORS as error:
            raise unwritable(self.storage, f"{_FOLDER}{key}.json", error) from error
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
        """Make every step, a running one too, submit and create nothing more. Raises: StorageFailed."""
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
                raise unreadable(self.storage, _CANCELLED, error) from error
            self.state = replace(self.state, is_cancelled=True)
        return True

    def restart(self, state: LedgerState) -> None:
        """Begin or close a run: replace the shared state and forget a cancellation. Raises: StorageFailed."""
        try:
            self.storage.delete([_CANCELLED])
        except STORAGE_ERRORS as error:
            raise unwritable(self.storage, _CANCELLED, error) from error
        self.save_state(state)

    def save_state(self, state: LedgerState) -> None:
        """Replace the state that all batches share. Raises: StorageFailed."""
        if state != self.state:
            self._write(STATE, orjson.dumps(asdict(state)))
            self.state = state

    def ids(self, record: BatchRecord) -> NDArray[np.uint64]:
        """Hashes of the rows in a batch's file, in the order of its lines. Raises: StorageFailed."""
        name = f"{_FOLDER}{record.key}.ids"
        try:
            found = np.frombuffer(self.storage.read(name), "<u8").astype(np.uint64)
        except (*STORAGE_ERRORS, ValueError) as error:
            raise unreadable(self.storage, name, error) from error
        if len(found) != record.requests:
            raise unreadable(self.storage, name, ValueError(f"{len(found)} rows for {record.requests} requests"))
        return found

    def text_tokens(self, record: BatchRecord) -> NDArray[np.uint32] | None:
        """Text tokens of each row of a batch, in order; None for a batch of an earlier version. Raises: StorageFailed."""
        data = self._read_if_there(f"{_FOLDER}{record.key}.tokens")
        if data is None or len(data) != 4 * record.requests:
            return None
        return np.frombuffer(data, "<u4").astype(np.uint32)

    def is_numbered(self, record: BatchRecord, plan: str) -> bool:
        """Whether the ledger has the row numbers of a batch under this plan."""
        return _numbers_name(record.key, plan) in self.numbered

    def save_numbers(self, key: str, plan: str, rows: NDArray[np.int64]) -> None:
        """Keep the row numbers of a batch's file, in the order of its lines. Raises: StorageFailed."""
        self._write(_numbers_name(key, plan), encode_numbers(rows))
        self.numbered.add(_numbers_name(key, plan))

    def numbers(self, record: BatchRecord, plan: str) -> NDArray[np.int64] | None:
        """The row numbers of a batch's file; None if the ledger's file is missing or damaged. Raises: StorageFailed."""
        data = self._read_if_there(_numbers_name(record.key, plan))
        found = None if data is None else decode_numbers(data)
        return found if found is not None and len(found) == record.requests else None

    def save_outcomes(self, record: BatchRecord, outcomes: NDArray[np.uint8]) -> None:
        """Keep what became of each line of a batch. Raises: StorageFailed."""
        self._write(f"{_FOLDER}{record.key}.open", encode_outcomes(outcomes))

    def outcomes(self, record: BatchRecord) -> NDArray[np.uint8] | None:
        """What became of each line of a batch; None if the ledger's file is missing or damaged. Raises: StorageFailed."""
        data = self._read_if_there(f"{_FOLDER}{record.key}.open")
        found = None if data is None else decode_outcomes(data)
        return found if found is not None and len(found) == record.requests else None

    def save_leftovers(self, record: BatchRecord, leftovers: pa.Table) -> None:
        """Keep why rows of a batch got no answer. Raises: StorageFailed."""
        self._write(f"{_FOLDER}{record.key}.left", encode_answers(leftovers))

    def leftovers(self, record: BatchRecord) -> pa.Table | None:
        """Why rows of a batch got no answer; None if no reasons were kept. Raises: StorageFailed."""
        name = f"{_FOLDER}{record.key}.left"
        data = self._read_if_there(name)
        try:
            return None if data is None else decode_answers(data)
        except CheckpointUnreadable as error:
            log.warning("%s/%s is damaged (%s). The reasons it held are lost.", self.storage.shown, name, error)
            return None

    def _read_if_there(self, name: str) -> bytes | None:
        try:
            return self.storage.read(name)
        except FileNotFoundError:
            return None
        except STORAGE_ERRORS as error:
            raise unreadable(self.storage, name, error) from error

    def _read(self, name: str) -> BatchRecord:
        record = _RECORD_FILE.read(self.storage, name)
        if record is None:
            raise unreadable(self.storage, name, FileNotFoundError("it is missing"))
        return record

    def _write(self, name: str, data: bytes) -> None:
        try:
            self.storage.write(name, data)
        except STORAGE_ERRORS as error:
            raise unwritable(self.storage, name, error) from error


def _numbers_name(key: str, plan: str) -> str:
    return f"{_FOLDER}{key}.{plan}.rows"
