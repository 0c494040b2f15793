"""Watches a run's deadline beside its batches: counts the rows left, and decides when they go online."""

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from promptmill.batch.api_errors import KeyRefused
from promptmill.batch.ledger import Ledger
from promptmill.batch.within import Moment, move_at, next_step
from promptmill.checkpoints.deadline_record import DeadlineRecord, note_change, read_deadline
from promptmill.errors import ProviderRefused
from promptmill.storage import Storage

if TYPE_CHECKING:
    from promptmill.batch.step import BatchWork

log = logging.getLogger("promptmill")


@dataclass(slots=True)
class Timing:
    """The deadline of the run whose batches these are."""

    record: DeadlineRecord
    look_seconds: float  # seconds between two looks at the batches

    def moment(self, ledger: Ledger, now: float) -> Moment:
        """The state of the run now, by its ledger."""
        deadline, rate = self.record.at.timestamp(), self.record.rows_per_second or 0.0
        return Moment(now, deadline, _rows_left(self.record, ledger), rate, self.look_seconds, bool(ledger.live))

    def describe(self, ledger: Ledger, now: float) -> str:
        """Says until when the rows stay in batches, or that they go online now."""
        if ledger.state.moved_at:
            return "the rest goes online once they are over"
        return f"the rest goes online at {clock_time(move_at(self.moment(ledger, now)))}"


def timing_of(checkpoints: Storage, look_seconds: float) -> Timing | None:
    """The deadline of the run under way on an output; None if it has none. Blocks. Raises: StorageFailed."""
    record = read_deadline(checkpoints)
    return None if record is None else Timing(record, look_seconds)


def _rows_left(record: DeadlineRecord, ledger: Ledger) -> int:
    """The number of unanswered rows; for live batches we believe the provider's counts."""
    answered = sum(batch.completed if batch.is_live else batch.answered for batch in ledger.of_this_run)
    return max(0, record.rows - answered)


def clock_time(seconds: float) -> str:
    """A time (seconds since the epoch) as a time of day for people, with the date unless it is today."""
    moment, now = datetime.fromtimestamp(seconds, UTC), datetime.now(UTC)
    return f"{moment:%H:%M:%S} UTC" if moment.date() == now.date() else f"{moment:%Y-%m-%d %H:%M} UTC"


def keep_time(work: "BatchWork") -> bool:
    """Move the remaining rows online when it is time; returns whether batches may take more. Blocks. Raises: StorageFailed."""
    timing = work.timing
    if timing is None:
        return True
    if work.ledger.state.moved_at:
        work.cancel_live()
        return False
    moment = timing.moment(work.ledger, work.clock())
    step = next_step(moment)
    if step == "move":
        _move_online(work, f"batches haven't answered {moment.left:,} of {timing.record.rows:,} rows in time")
    return step == "submit"


def step_or_give_up(work: "BatchWork") -> None:
    """One step. If the provider takes no batches, a run with a deadline asks its rows online. Blocks.

    Raises: RunStopped or a subclass, as `BatchWork.step`.
    """
    try:
        work.step()
    except KeyRefused:  # this error isn't about batches
        raise
    except ProviderRefused as error:
        if not give_batches_up(work, str(error)):
            raise


def give_batches_up(work: "BatchWork", why: str) -> bool:
    """Move all remaining rows online, since batches don't work; False if that doesn't help. Blocks. Raises: StorageFailed."""
    if work.timing is None or work.ledger.state.moved_at:
        return False
    _move_online(work, f"the provider takes no batches ({why.rstrip('.')})")
    return True


def _move_online(work: "BatchWork", why: str) -> None:
    """Submit nothing more, cancel the live batches, and say so. Blocks. Raises: StorageFailed."""
    timing, now = work.timing, work.clock()
    assert timing is not None  # noqa: S101 - only called where there is one
    work.ledger.save_state(replace(work.ledger.state, moved_at=now))
    live = sum(batch.state == "submitted" for batch in work.ledger.live)
    ended = f"{live:,} {'batch is' if live == 1 else 'batches are'} cancelled, and " if live else ""
    text = f"{why}: {ended}the rest is asked online"
    timing.record = note_change(work.store.storage, timing.record, datetime.fromtimestamp(now, UTC), text)
    log.warning("%s.", text)
    work.cancel_live()
