"""Moves the batches of one job by one step: looks at each, collects those that ended, and submits rows if there is room.

Blocking, for a worker thread. If something kills a step, the next step continues from the ledger. Each record says which
call may have been made, and the step asks the provider what it has before it repeats that call.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from promptmill.batch.api import BatchProvider, NotNow
from promptmill.batch.api_errors import FileTooLarge
from promptmill.batch.collection import BatchCollection
from promptmill.batch.create import NOT_CREATED, BatchCreation
from promptmill.batch.files import BatchFile
from promptmill.batch.judging_failures import judge_failures
from promptmill.batch.ledger import BatchRecord, Ledger
from promptmill.batch.policy import (
    ENDED,
    BatchView,
    Collect,
    Drop,
    Halt,
    Requeue,
    Respell,
    Wait,
    first_step,
    judge,
)
from promptmill.batch.steering import steered_job, steered_prepared, steered_run
from promptmill.batch.submit import Outcome, Sources, room_digest, submit_wave
from promptmill.batch.timing import Timing, keep_time
from promptmill.checkpoints.output_lease import OutputLease
from promptmill.checkpoints.store import Store
from promptmill.errors import ProviderRefused
from promptmill.job.spec import Job
from promptmill.planning.prepared_job import Prepared
from promptmill.processes import is_at_work
from promptmill.runs.run import Run
from promptmill.steering.orders import NOT_STEERED, Steering

_CANARY_NOTE = "a few rows are tried before the rest goes out"
log = logging.getLogger("promptmill")


@dataclass(slots=True)
class BatchWork:
    """All batches of one output. A step calls `plan` only if no record on storage can replace a whole plan."""

    job: Job  # output.url is already rendered
    store: Store
    ledger: Ledger
    provider: BatchProvider
    plan: Callable[[], Run]
    prepare: Callable[[], Prepared]  # the job with its input opened; no row is read
    clock: Callable[[], float] = time.time
    silent_since: float | None = None  # since when the provider hasn't answered
    notes: dict[str, str] = field(default_factory=dict[str, str])  # key of a batch → note for the display
    steering: Steering = NOT_STEERED  # the orders to its run
    lease: OutputLease | None = None  # the lease on the output; None: another process keeps it
    timing: Timing | None = None  # None: the run has no deadline

    @property
    def creation(self) -> BatchCreation:
        """Makes batches of files."""
        return BatchCreation(self.job, self.ledger, self.provider, self.clock, self.lease)

    @property
    def collection(self) -> BatchCollection:
        """Brings the results of a batch that is over into the store."""
        return BatchCollection(self.ledger, self.provider, self.creation.save, self.prepare, self.notes)

    @property
    def is_finished(self) -> bool:
        """Whether no batch can answer more rows."""
        state = self.ledger.state
        return not self.ledger.live and (state.is_all_submitted or state.is_cancelled or state.moved_at > 0)

    @property
    def of_this_run(self) -> list[BatchRecord]:
        """Batches that took rows of the run under way."""
        return self.ledger.of_this_run

    def step(self) -> bool:
        """Move every batch as far as it goes now; returns `is_finished`.

        Raises: RunStopped or a subclass if the job has to stop; all collected answers are kept.
        """
        if self.ledger.look_for_cancellation():
            self.cancel_live()
        may_submit = keep_time(self)
        for record in self.ledger.live:
            self._guarded(record, self._advance)
        judge_failures(self.of_this_run, steered_job(self.job, self.steering).max_failure_ratio)
        state = self.ledger.state
        is_held = self.steering.paused is not None or state.is_cancelled
        is_queue_full = any(record.refusals and record.state == "uploaded" for record in self.ledger.live)
        if may_submit and not state.is_all_submitted and not is_held and not is_queue_full:
            self._submit()
        return self.is_finished

    def cancel(self) -> None:
        """Ask the provider to end every live batch; later steps collect the answers."""
        self.ledger.cancel()
        self.cancel_live()

    def cancel_live(self) -> None:
        """Ask the provider to cancel each live batch, once, no matter which process cancelled the job."""
        for record in self.ledger.live:
            if record.state == "submitted":
                if record.status not in {"cancelling", *ENDED}:
                    self._guarded(record, lambda record: self.provider.cancel(record.batch_id))
            elif record.state != "creating":
                self.creation.save(record, state="dropped", message=NOT_CREATED)
            elif not is_at_work(record.owner, self.clock() - record.changed_at):
                self._guarded(record, self.creation.search)  # the search cancels a batch that it finds

    def _submit(self) -> None:
        """Submit waiting rows as far as there is room; look at no row while nothing has changed that could make room."""
        job, told = steered_job(self.job, self.steering), self.steering
        sources = Sources(lambda: steered_run(self.plan(), told), lambda: steered_prepared(self.prepare(), told))
        if self.ledger.live and self.ledger.state.full_at == room_digest(job, self.ledger):
            return
        most_bytes: int | None = -1
        outcome: Outcome = "later"
        while most_bytes != self.ledger.state.max_bytes:  # a file was too large: its halves go out at once
            most_bytes = self.ledger.state.max_bytes
            service, now = self.provider.service, self.clock()
            outcome = submit_wave(sources, self.ledger, service, now, self._submit_file)
        full_at = room_digest(job, self.ledger) if outcome == "full" else ""
        self.ledger.save_state(replace(self.ledger.state, is_all_submitted=outcome == "all", full_at=full_at))
        if outcome != "all" and self.timing is None:
            self.notes |= {record.key: _CANARY_NOTE for record in self.ledger.live if record.is_canary}

    def _submit_file(self, file: BatchFile, is_canary: bool) -> bool:
        """Write down the intent, upload the file, create the batch; False if nothing more may be submitted now.

        Raises: LeaseLost.
        """
        if self.ledger.look_for_cancellation():
            return False
        if self.lease is not None:
            self.lease.require()
        is_canary = is_canary or self.timing is not None  # if the provider refuses all lines, the rows go online
        record = self.ledger.intend(file, self.clock(), endpoint=self.creation.endpoint, is_canary=is_canary)
        if record is None:
            return False  # another process submits this file
        try:
            file_id = self.provider.upload(file.path, record.filename, record.packed_at)
            self.creation.create(self.creation.save(record, state="uploaded", file_id=file_id))
        except NotNow as error:
            log.warning("%s", error)
            self._note_silence(error)
            return False
        except FileTooLarge as error:
            self._halve(record, error)
            return False
        return self.ledger.records[record.key].is_live

    def _halve(self, record: BatchRecord, error: FileTooLarge) -> None:
        """Give up a file that is too large for the provider; the next submission packs its rows in smaller files."""
        self.creation.give_up(record, str(error))
        if record.requests == 1:
            raise ProviderRefused(f"{error} It holds one row of {record.bytes:,} bytes. Shorten it in the template.")
        half = record.bytes // 2
        log.info("%s Files are packed with at most %d bytes", error, half)
        self.ledger.save_state(replace(self.ledger.state, max_bytes=half))

    def _guarded(self, record: BatchRecord, act: Callable[[BatchRecord], None]) -> None:
        """Do the next action for a batch; if the provider doesn't answer now, leave it to the next step."""
        try:
            act(record)
            self.silent_since = None
        except NotNow as error:
            log.warning("batch %s: %s", record.batch_id or record.key, error)
            self.notes[record.key] = str(error)
            self._note_silence(error)

    def _note_silence(self, error: NotNow) -> None:
        """Raises ProviderRefused if the provider hasn't answered for as long as an online run would try a row.

        A run with a deadline goes on instead, since its batches run meanwhile.
        """
        self.silent_since = self.silent_since or self.clock()
        if self.timing is not None and self.clock() < self.timing.record.at.timestamp():
            return
        silent = self.clock() - self.silent_since
        if silent > self.job.retry.max_elapsed_seconds:
            raise ProviderRefused(
                f"the provider gave no answer that helps for {silent:,.0f} s; the limit is "
                f"{self.job.retry.max_elapsed_seconds:,.0f} s (retry.max_elapsed_seconds). It said: {error} Batches that "
                "were submitted go on there; run the same command again to take them up."
            )

    def _advance(self, record: BatchRecord) -> None:
        if record.state in {"packed", "creating"} and is_at_work(record.owner, self.clock() - record.changed_at):
            self.notes[record.key] = f"process {record.owner} is submitting it"
            return
        step = first_step(record, self.clock())
        if step == "recover":
            self.creation.recover(record)
        elif step == "create":
            self.creation.create(record)
        elif step == "search":
            self.creation.search(record)
        elif step == "look":
            view = self.provider.retrieve(record.batch_id)
            self._carry_out(self.creation.note(record, view), view)

    def _carry_out(self, record: BatchRecord, view: BatchView | None) -> None:
        is_alone = len(self.ledger.live) == 1
        action = judge(record, view, self.clock(), self.job.batch.poll_seconds, is_alone)
        self.notes.pop(record.key, None)
        if isinstance(action, Halt):
            if view is not None:
                self.creation.let_rows_wait(record, action.message)
            raise ProviderRefused(action.message)
        if isinstance(action, Requeue):
            self._requeue(record, action)
        elif isinstance(action, Drop):
            self._drop(record, action)
        elif isinstance(action, Respell):
            self.creation.respell(record, "the provider says that the lines' url doesn't fit.")
        elif isinstance(action, Collect) and view is not None:
            self.collection.collect(record, view)
        elif isinstance(action, Wait):
            if action.note:
                self.notes[record.key] = action.note
            if view is None or view.status == "completed":
                self.creation.save(record, empty_looks=record.empty_looks + 1)

    def _requeue(self, record: BatchRecord, action: Requeue) -> None:
        until = self.clock() + action.wait_seconds
        log.info("batch %s was not taken; its file is submitted again in %.0f s", record.batch_id, action.wait_seconds)
        self.creation.save(
            record, state="uploaded", batch_id="", status="", not_before=until, refusals=record.refusals + 1
        )

    def _drop(self, record: BatchRecord, action: Drop) -> None:
        """Give up a file; the next submission packs its rows again."""
        self.creation.give_up(record, "too large for the queue" if action.tokens_at_most else "refused")
        state = self.ledger.state
        if action.tokens_at_most is not None:
            log.info(
                "the provider's queue takes less; batches are packed with at most %d tokens", action.tokens_at_most
            )
            state = replace(state, enqueued_tokens=max(1, action.tokens_at_most))
        self.ledger.save_state(state)
