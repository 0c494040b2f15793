"""Takes the results of a batch that is over: downloads, checks and saves them, then writes that into the ledger."""

import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from promptmill.batch.api import BatchProvider
from promptmill.batch.ledger import BatchRecord, Ledger
from promptmill.batch.places import Places, find_lines
from promptmill.batch.policy import EMPTY_LOOKS, BatchView
from promptmill.batch.result_files import Brought, download_results, keep_results
from promptmill.checkpoints.answer_files import ZERO_USD
from promptmill.errors import ProviderRefused
from promptmill.planning.prepared_job import Prepared

log = logging.getLogger("promptmill")


@dataclass(frozen=True, slots=True)
class BatchCollection:
    """The batches of one output once they are over."""

    ledger: Ledger
    provider: BatchProvider
    save: Callable[..., BatchRecord]  # a record with changes, as in BatchCreation
    prepare: Callable[[], Prepared]
    notes: dict[str, str]  # key of a batch → note for the display

    def collect(self, record: BatchRecord, view: BatchView) -> None:
        """Save every result of a batch that is over, then write so into the ledger. A second call changes nothing.

        If a result file is missing, or has fewer lines than the provider counts, a later look fetches it again.
        """
        with tempfile.TemporaryDirectory(prefix="promptmill-") as folder:
            files = download_results(self.provider, view, Path(folder))
            places = find_lines(files or [], self.ledger.ids(record))
            said = min(record.requests, view.completed + view.failed)
            is_short = files is not None and bool(files) and (places.given < said or places.is_cut)
            if (files is None or is_short) and record.empty_looks < EMPTY_LOOKS:
                self.save(record, empty_looks=record.empty_looks + 1)
                self.notes[record.key] = (
                    "its result files aren't there yet"
                    if files is None
                    else f"its result files have {places.given:,} of {said:,} lines; they are fetched again"
                )
                return
            self._keep(record, view, places, is_lossy=is_short)

    def _keep(self, record: BatchRecord, view: BatchView, places: Places, *, is_lossy: bool) -> None:
        brought = keep_results(self.prepare(), self.ledger, record, places, self.provider.secrets)
        if brought.answered < record.requests:
            self.ledger.save_state(replace(self.ledger.state, is_all_submitted=False))
        unsure = places.missing + brought.unread  # rows without a readable answer that the provider may bill
        uncertain = record.reserved_usd * unsure / record.requests if places.files else ZERO_USD
        self.save(
            record,
            state="collected",
            answered=brought.answered,
            refused=brought.refused,
            cost_usd=brought.cost_usd,
            uncertain_usd=uncertain,
            told_tokens=_told(view),
            counted_tokens=(brought.input_tokens, brought.output_tokens),
            is_lossy=is_lossy,
            is_halted=brought.halt != "",
            message=brought.halt,
        )
        _audit(record, view, brought)
        if brought.halt:
            raise ProviderRefused(f"The run was stopped: {brought.halt}")


def _told(view: BatchView) -> tuple[int, int] | None:
    """Input and output tokens of a whole batch, as the provider tells them; None if it doesn't."""
    if view.input_tokens is None or view.output_tokens is None:
        return None
    told = (view.input_tokens, view.output_tokens)
    return None if told == (0, 0) else told


def _audit(record: BatchRecord, view: BatchView, brought: Brought) -> None:
    """Warn if the provider's usage of a whole batch differs from the sum of its lines: it may bill by either."""
    told, found = _told(view), (brought.input_tokens, brought.output_tokens)
    if told is None or told == found:
        return
    log.warning(
        "batch %s: the provider's usage of the whole batch is %s tokens in and %s out, its lines add up to %s and %s; the "
        "run counts the lines. Compare the provider's bill.",
        record.batch_id,
        *(f"{tokens:,}" for tokens in (*told, *found)),
    )
