"""Makes a batch of a file: uploads it, creates the batch, and looks for it if the creation got no clear answer.

Blocking. The ledger records each call before it is made. If the process dies in between, the next step first asks the
provider what it has. So no batch is created twice.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from promptmill.batch.api import BatchProvider, NotNow
from promptmill.batch.api_errors import EndpointRefused
from promptmill.batch.files import line_url
from promptmill.batch.ledger import BatchRecord, Ledger
from promptmill.batch.policy import ENDED, BatchView, after_search
from promptmill.batch.services import PREFIXES, prefix_of
from promptmill.checkpoints.output_lease import OutputLease
from promptmill.errors import ProviderRefused, RunStopped
from promptmill.job.spec import Job

_PROCESSING_SECONDS = 15.0  # seconds between two looks at a file that the provider is processing
_LONGEST_PROCESSING_SECONDS = 6 * 3_600.0
_SETTLE_SECONDS = 60.0  # seconds; a batch that the list doesn't show by then doesn't exist
NOT_CREATED = "cancelled before it was created"
log = logging.getLogger("promptmill")


@dataclass(frozen=True, slots=True)
class BatchCreation:
    """The batches of one output until each is created."""

    job: Job  # output.url is no template any more
    ledger: Ledger
    provider: BatchProvider
    clock: Callable[[], float]
    lease: OutputLease | None = None  # the lease on the output

    @property
    def endpoint(self) -> str:
        """The endpoint as this provider spells it, as far as we know."""
        return line_url(self.job.request.endpoint, prefix_of(self.ledger.state, self.provider.service))

    def save(self, record: BatchRecord, **changes: Any) -> BatchRecord:
        """Write the record with these changes, and return it. Raises: StorageFailed."""
        return self.ledger.save(replace(record, **changes), self.clock())

    def recover(self, record: BatchRecord) -> None:
        """Continue for a process that died between intent and upload: use the file if it arrived, else pack its rows again."""
        file_id = self.provider.find_file(record.filename, record.packed_at)
        if file_id is None:
            self.let_rows_wait(record, "its file was never uploaded")
        else:
            self.create(self.save(record, state="uploaded", file_id=file_id))

    def create(self, record: BatchRecord) -> None:
        """Create the batch of an uploaded file, once: after an unclear answer the next step searches for it.

        Raises: LeaseLost.
        """
        if self.ledger.look_for_cancellation():
            self.save(record, state="dropped", message=NOT_CREATED)
            return
        if self.lease is not None:
            self.lease.require()
        if not self._is_processed(record):
            return
        record = self.save(record, state="creating")
        window = self.job.batch.completion_window
        endpoint = record.endpoint or line_url(self.job.request.endpoint)
        try:
            view = self.provider.create(record.file_id, endpoint, window, record.key, self.job)
        except NotNow as error:
            if not error.was_sent:
                self.save(record, state="uploaded", not_before=self.clock() + error.wait_seconds)
            raise
        except EndpointRefused as error:
            self.respell(record, str(error))
            return
        except RunStopped:
            self.save(record, state="uploaded")
            raise
        self._adopt(record, view)

    def _is_processed(self, record: BatchRecord) -> bool:
        """Whether the file is ready; Azure processes it after the upload. If it isn't ready, a later step looks again.

        Raises: ProviderRefused.
        """
        state, said = self.provider.look_at_file(record.file_id)
        if state == "ready":
            return True
        waited = self.clock() - record.packed_at
        if state == "failed" or waited > _LONGEST_PROCESSING_SECONDS:
            self.give_up(record, said)
            raise ProviderRefused(
                f"the provider can't make a batch of the file {record.filename} after {waited:,.0f} s: {said}. Nothing of it "
                "was run or billed. Run the same command again, which uploads its rows once more."
            )
        pause = min(_PROCESSING_SECONDS, self.job.batch.poll_seconds)
        self.save(record, state="uploaded", not_before=self.clock() + pause)
        return False

    def give_up(self, record: BatchRecord, reason: str) -> None:
        """Delete a file here and at the provider; the next submission packs its rows again."""
        if record.file_id:
            self.provider.delete([record.file_id])
        self.let_rows_wait(record, reason)

    def let_rows_wait(self, record: BatchRecord, reason: str) -> None:
        """Drop a record. First write down that rows wait, or a kill in between would lose them."""
        self.ledger.save_state(replace(self.ledger.state, is_all_submitted=False))
        self.save(record, state="dropped", message=reason)

    def respell(self, record: BatchRecord, reason: str) -> None:
        """Give up a file whose endpoint the provider refused, and spell the endpoint the other way from now on.

        Raises: ProviderRefused when the other spelling was refused before.
        """
        self.give_up(record, reason)
        state, ours = self.ledger.state, self.job.request.endpoint
        other = next(prefix for prefix in PREFIXES if line_url(ours, prefix) != record.endpoint)
        if state.prefix is not None and state.prefix != other:
            self.ledger.save_state(replace(state, prefix=None))
            raise ProviderRefused(f"{reason} Both spellings of the endpoint were refused: check request.endpoint.")
        log.info("%s The endpoint is spelled %s from now on", reason, line_url(ours, other))
        self.ledger.save_state(replace(state, prefix=other))

    def search(self, record: BatchRecord) -> None:
        """Look for a batch whose creation got no clear answer; create it as soon as we know that there is none."""
        found = self.provider.find_batch(record.key, record.file_id, record.packed_at)
        settle = min(_SETTLE_SECONDS, self.job.batch.poll_seconds)
        verdict = after_search(record, found is not None, self.clock(), settle)
        if found is not None:
            self._adopt(record, found)
        elif verdict == "create":
            self.create(record)

    def _adopt(self, record: BatchRecord, view: BatchView) -> None:
        record = self.save(record, state="submitted", batch_id=view.id, empty_looks=0)
        self.note(record, view)
        if self.ledger.look_for_cancellation():
            self.provider.cancel(view.id)
        log.info(
            "batch %s submitted: %d requests, %d bytes, %d tokens, at most $%s",
            view.id,
            record.requests,
            record.bytes,
            record.input_tokens,
            record.reserved_usd.normalize(),
        )

    def note(self, record: BatchRecord, view: BatchView | None) -> BatchRecord:
        """Write down what the provider says, if it changed."""
        if view is None:
            return record
        looks = record.empty_looks if view.status in ENDED else 0
        news = replace(
            record,
            empty_looks=looks,
            status=view.status,
            completed=view.completed,
            failed=view.failed,
            expires_at=view.expires_at,
        )
        if news.status != record.status:
            news = replace(news, statuses=(*record.statuses, (view.status, self.clock())))
            log.info("batch %s is %s: %d of %d requests done", view.id, view.status, view.completed, record.requests)
        return self.ledger.save(news, self.clock()) if news != record else record
