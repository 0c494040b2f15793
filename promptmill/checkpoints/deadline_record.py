"""Keeps a run's deadline beside its checkpoints, so that a killed run continues with the deadline of its first start.

The record also holds how fast the run answers rows online. The run's next process and the steps of advance-batches need
this pace to know how long they may wait for the batches.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from pydantic import TypeAdapter

from promptmill.errors import StorageFailed
from promptmill.state_files import StateFile
from promptmill.storage import STORAGE_ERRORS, Storage

_NAME = "deadline.json"


@dataclass(frozen=True, slots=True)
class Change:
    """A decision of the run, and its time."""

    at: datetime
    what: str


@dataclass(frozen=True, slots=True)
class DeadlineRecord:
    """A run's deadline and pace."""

    text: str  # as in the job
    job_digest: str
    started_at: datetime  # when the run's first process started
    at: datetime  # the moment
    rows: int = 0  # at most that many go into batches, over all processes of the run
    rows_per_second: float | None = None  # online; None: not measured yet
    changes: tuple[Change, ...] = ()  # the first plan, then each change


_FORM: TypeAdapter[DeadlineRecord] = TypeAdapter(DeadlineRecord)
_RECORD: StateFile[DeadlineRecord] = StateFile(
    _FORM,
    purpose="It says when the run with a deadline began, and how fast it answers rows online.",
    way_on="The deadline counts from now.",
)


def read_deadline(checkpoints: Storage) -> DeadlineRecord | None:
    """The record of the run under way; None if there is none. Blocks. Raises: StorageFailed."""
    return _RECORD.read(checkpoints, _NAME)


def write_deadline(checkpoints: Storage, record: DeadlineRecord) -> DeadlineRecord:
    """Write a record and return it. Blocks. Raises: StorageFailed."""
    try:
        checkpoints.write(_NAME, _FORM.dump_json(record))
    except STORAGE_ERRORS as error:
        raise StorageFailed(
            f"{checkpoints.shown}/{_NAME} can't be written: {checkpoints.describe(error)}. It keeps the run's deadline. Make "
            "room or give access, then run the same command again: what was answered is kept."
        ) from error
    return record


def note_change(checkpoints: Storage, record: DeadlineRecord, at: datetime, what: str) -> DeadlineRecord:
    """Add a change to the record and write it. Blocks. Raises: StorageFailed."""
    return write_deadline(checkpoints, replace(record, changes=(*record.changes, Change(at, what))))


def forget_deadline(checkpoints: Storage) -> None:
    """Remove the record once the output is published: the next run counts from its own start. Blocks."""
    checkpoints.delete([_NAME])


def going_on(record: DeadlineRecord | None, text: str, job_digest: str, now: datetime) -> bool:
    """Whether a run continues with the recorded deadline instead of its own. Pure.

    If a run starts so late that the time since the deadline is as long as the first run had, it is a new one, such as the
    next night's.
    """
    if record is None or record.text != text or record.job_digest != job_digest:
        return False
    return now - record.at <= record.at - record.started_at  # a sum may pass the last day of the calendar
