"""When a run shall be done, kept beside its checkpoints: a run that was killed goes on with the deadline of its first start.

It also holds how fast the run answers rows online. The next process of the run, and a step of advance-batches, need that to
know until when they may wait for the batches.
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
    """What a run decided to do, and when."""

    at: datetime
    what: str


@dataclass(frozen=True, slots=True)
class DeadlineRecord:
    """A run's deadline, and what is known of it."""

    text: str  # as the job says it
    job_digest: str
    started_at: datetime  # of the first process
    at: datetime  # the moment
    rows: int = 0  # that the run leaves to batches at most, all its processes together
    rows_per_second: float | None = None  # that it answers online; None: not measured yet
    changes: tuple[Change, ...] = ()  # the plan first


_FORM: TypeAdapter[DeadlineRecord] = TypeAdapter(DeadlineRecord)
_RECORD: StateFile[DeadlineRecord] = StateFile(
    _FORM,
    purpose="It says when the run began that has a deadline, and how fast it answers rows online.",
    way_on="The deadline counts from now.",
)


def read_deadline(checkpoints: Storage) -> DeadlineRecord | None:
    """The record of a run under way; None where there is none. Blocks. Raises: StorageFailed."""
    return _RECORD.read(checkpoints, _NAME)


def write_deadline(checkpoints: Storage, record: DeadlineRecord) -> DeadlineRecord:
    """Keep a record; returns it. Blocks. Raises: StorageFailed."""
    try:
        checkpoints.write(_NAME, _FORM.dump_json(record))
    except STORAGE_ERRORS as error:
        raise StorageFailed(
            f"{checkpoints.shown}/{_NAME} can't be written: {checkpoints.describe(error)}. It keeps the run's deadline. Make "
            "room or give access, then run the same command again: what was answered is kept."
        ) from error
    return record


def note_change(checkpoints: Storage, record: DeadlineRecord, at: datetime, what: str) -> DeadlineRecord:
    """The record with one more change, kept. Blocks. Raises: StorageFailed."""
    return write_deadline(checkpoints, replace(record, changes=(*record.changes, Change(at, what))))


def forget_deadline(checkpoints: Storage) -> None:
    """Remove the record once the output is published: the next run counts from its own start. Blocks."""
    checkpoints.delete([_NAME])


def going_on(record: DeadlineRecord | None, text: str, job_digest: str, now: datetime) -> bool:
    """Whether a run goes on with the deadline that stands there, and doesn't begin one of its own. Pure.

    A run that comes later than the deadline by as long as the whole run had is another one, such as the next night's.
    """
    if record is None or record.text != text or record.job_digest != job_digest:
        return False
    return now - record.at <= record.at - record.started_at  # a sum may lie behind the last day of the calendar
