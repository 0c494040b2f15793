"""The batches of one job, moved one step at a time: look at each, collect what ended, submit what there is room for.

Blocking, for a worker thread. Whatever kills it, the next step goes on from the ledger: each record says which call may
have been made, and the step looks for what the provider has before it repeats that call.
"""

import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from promptmill.batch.api import BatchProvider, NotNow
from promptmill.batch.collect import download_results, keep_results
from promptmill.batch.create import NOT_CREATED, BatchCreation
from promptmill.batch.files import BatchFile
from promptmill.batch.ledger import BatchRecord, Ledger
from promptmill.batch.policy import (
    EMPTY_LOOKS,
    ENDED,
    Action,
    BatchView,
    Collect,
    Drop,
    Halt,
    Requeue,
    Wait,
    first_step,
    judge,
)
from promptmill.batch.results import Places, find_lines
from promptmill.batch.submit import submit_wave
from promptmill.checkpoints.answer_files import ZERO_USD
from promptmill.checkpoints.output_lease import OutputLease
from promptmill.checkpoints.store import Store
from promptmill.errors import ProviderRefused, TooManyFailures
from promptmill.job.spec import Job
from promptmill.processes import is_at_work
from promptmill.runs.progress import JUDGED_ROWS
from promptmill.runs.run import Run

log = logging.getLogger("promptmill")


@dataclass(slots=True)
class BatchWork:
    """All batches of one output; it asks for `plan` only when rows are to be read."""

    job: Job  # output.url is no template any more
    store: Store
    ledger: Ledger
    provider: BatchProvider
    plan: Callable[[], Run]
    clock: Callable[[], float] = time.time
    silent_since: float | None = None  # when the provider last began not to answer
    notes: dict[str, str] = field(default_factory=dict[str, str])  # key → what to tell about a batch
    lease: OutputLease | None = None  # the hold on the output; None where another process looks after that

    @property
    def creation(self) -> BatchCreation:
        """What brings a file to being a batch."""
        return BatchCreation(self.job, self.ledger, self.provider, self.clock, self.lease)

    @property
    def is_finished(self) -> bool:
        """Whether no batch can answer more rows."""
        state = self.ledger.state
        return not self.ledger.live and (state.is_all_submitted or state.is_cancelled)

    @property
    def of_this_run(self) -> list[BatchRecord]:
        """Batches that took rows of the run under way."""
        since = self.ledger.state.started_at
        records = (
            record for record in self.ledger.records.values() if record.packed_at >= since and record.state != "dropped"
        )
        return sorted(records, key=lambda record: (record.packed_at, record.key))

    def step(self) -> bool:
        """Move everything on as far as it goes now; returns `is_finished`.

        Raises: RunStopped or a subclass when the job has to stop; everything collected is kept.
        """
        if self.ledger.look_for_cancellation():
            self._cancel_live()
        for record in self.ledger.live:
            self._guarded(record, self._advance)
        self._judge_failures()
        state = self.ledger.state
        is_queue_full = any(record.refusals and record.state == "uploaded" for record in self.ledger.live)
        if not state.is_all_submitted and not state.is_cancelled and not is_queue_full:
            self._submit()
        return self.is_finished

    def _judge_failures(self) -> None:
        """Raises: TooManyFailures, so that no more is submitted."""
        records = [record for record in self.of_this_run if record.state == "collected"]
        seen, failed = sum(record.answered for record in records), sum(record.refused for record in records)
        if seen >= JUDGED_ROWS and failed > self.job.max_failure_ratio * seen:
            raise TooManyFailures(
                f"{failed:,} of {seen:,} rows that batches answered failed; the limit is "
                f"{self.job.max_failure_ratio:.1%} (max_failure_ratio). Fix the cause and run with --retry-failed, or "
                "raise max_failure_ratio: what was answered is kept."
            )

    def cancel(self) -> None:
        """Ask the provider to end every live batch; what was answered is collected by the steps that follow."""
        self.ledger.cancel()
        self._cancel_live()

    def _cancel_live(self) -> None:
        """End what is live, wherever the cancellation came from; a batch that is being cancelled needs no second word."""
        for record in self.ledger.live:
            if record.state == "submitted":
                if record.status not in {"cancelling", *ENDED}:
                    self._guarded(record, lambda record: self.provider.cancel(record.batch_id))
            elif record.state != "creating":
                self.creation.save(record, state="dropped", message=NOT_CREATED)

    def _submit(self) -> None:
        """Submit the rows that wait, as far as there is room."""
        is_all_submitted = submit_wave(self.plan(), self.ledger, self.clock(), self._submit_file)
        self.ledger.save_state(replace(self.ledger.state, is_all_submitted=is_all_submitted))

    def _submit_file(self, file: BatchFile) -> bool:
        """Write the intent down, upload the file, create the batch; False when nothing more may be submitted now.

        Raises: LeaseLost.
        """
        if self.ledger.look_for_cancellation():
            return False
        if self.lease is not None:
            self.lease.require()
        record = self.ledger.intend(file, self.clock())
        if record is None:
            return False  # another process has taken it up
        try:
            file_id = self.provider.upload(file.path, record.filename, record.packed_at)
            self.creation.create(self.creation.save(record, state="uploaded", file_id=file_id))
        except NotNow as error:
            log.warning("%s", error)
            self._note_silence(error)
            return False
        return True

    def _guarded(self, record: BatchRecord, act: Callable[[BatchRecord], None]) -> None:
        """Act on a batch; if the provider doesn't answer now, leave it to the next step."""
        try:
            act(record)
            self.silent_since = None
        except NotNow as error:
            log.warning("batch %s: %s", record.batch_id or record.key, error)
            self.notes[record.key] = str(error)
            self._note_silence(error)

    def _note_silence(self, error: NotNow) -> None:
        """Raises: ProviderRefused when nothing was heard for as long as an online run would try a row."""
        self.silent_since = self.silent_since or self.clock()
        silent = self.clock() - self.silent_since
        if silent > self.job.retry.max_elapsed_seconds:
            raise ProviderRefused(
                f"the provider gave no answer that helps for {silent:,.0f} s; the limit is "
                f"{self.job.retry.max_elapsed_seconds:,.0f} s (retry.max_elapsed_seconds). It said: {error} Batches that "
                "were submitted go on there; run the same command again to take them up."
            )

    def _advance(self, record: BatchRecord) -> None:
        if record.state in {"packed", "creating"} and is_at_work(record.owner, self.clock() - record.changed_at):
            self.notes[record.key] = f"process {record.owner} has it in hand"
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
        action: Action = judge(record, view, self.clock(), self.job.batch.poll_seconds, is_alone)
        self.notes.pop(record.key, None)
        if isinstance(action, Halt):
            if view is not None:
                self.creation.save(record, state="dropped", message=action.message)
                self.ledger.save_state(replace(self.ledger.state, is_all_submitted=False))
            raise ProviderRefused(action.message)
        if isinstance(action, Requeue):
            self._requeue(record, action)
        elif isinstance(action, Drop):
            self._drop(record, action)
        elif isinstance(action, Collect) and view is not None:
            self._collect(record, view)
        elif isinstance(action, Wait):
            if action.note:
                self.notes[record.key] = action.note
            if view is not None and view.status == "completed":
                self.creation.save(record, empty_looks=record.empty_looks + 1)

    def _requeue(self, record: BatchRecord, action: Requeue) -> None:
        until = self.clock() + action.wait_seconds
        log.info("batch %s was not taken; its file is submitted again in %.0f s", record.batch_id, action.wait_seconds)
        self.creation.save(
            record, state="uploaded", batch_id="", status="", not_before=until, refusals=record.refusals + 1
        )

    def _drop(self, record: BatchRecord, action: Drop) -> None:
        """Give a file up; the next submission packs its rows again."""
        self.provider.delete([record.file_id])
        self.creation.save(
            record, state="dropped", message="too large for the queue" if action.tokens_at_most else "refused"
        )
        state = replace(self.ledger.state, is_all_submitted=False)
        if action.tokens_at_most is not None:
            log.info(
                "the provider's queue takes less; batches are packed with at most %d tokens", action.tokens_at_most
            )
            state = replace(state, enqueued_tokens=max(1, action.tokens_at_most))
        self.ledger.save_state(state)

    def _collect(self, record: BatchRecord, view: BatchView) -> None:
        """Save every result of a batch that is over, then say so in the ledger. Doing it twice changes nothing."""
        with tempfile.TemporaryDirectory(prefix="promptmill-") as folder:
            files = download_results(self.provider, view, Path(folder))
            if files is None and record.empty_looks < EMPTY_LOOKS:
                self.creation.save(record, empty_looks=record.empty_looks + 1)
                self.notes[record.key] = "its result files aren't there yet"
                return
            self._keep(record, find_lines(files or [], self.ledger.ids(record)))

    def _keep(self, record: BatchRecord, places: Places) -> None:
        brought = keep_results(self.plan().prepared, self.ledger, record, places, self.provider.secrets)
        if brought.answered < record.requests:
            self.ledger.save_state(replace(self.ledger.state, is_all_submitted=False))
        unsure = places.missing + brought.unread  # rows that may be billed, without an answer that can be read
        uncertain = record.reserved_usd * unsure / record.requests if places.files else ZERO_USD
        self.creation.save(
            record,
            state="collected",
            answered=brought.answered,
            refused=brought.refused,
            cost_usd=brought.cost_usd,
            uncertain_usd=uncertain,
        )
        if brought.halt:
            raise ProviderRefused(f"The run was stopped: {brought.halt}")
