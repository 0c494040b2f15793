"""The results of a batch that is over: downloaded, looked through, saved, written down."""

import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from promptmill.batch.api import BatchProvider
from promptmill.batch.collect import Brought, download_results, keep_results
from promptmill.batch.ledger import BatchRecord, Ledger
from promptmill.batch.places import Places, find_lines
from promptmill.batch.policy import EMPTY_LOOKS, BatchView
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
    notes: dict[str, str]  # key → what to tell about a batch

    def collect(self, record: BatchRecord, view: BatchView) -> None:
        """Save every result of a batch that is over, then say so in the ledger. Doing it twice changes nothing.

        A result file that isn't there, or has fewer lines than the provider counts, is fetched again at later looks.
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
        unsure = places.missing + brought.unread  # rows that may be billed, without an answer that can be read
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
    """The provider's usage of a whole batch, input and output; None where it tells none."""
    if view.input_tokens is None or view.output_tokens is None:
        return None
    told = (view.input_tokens, view.output_tokens)
    return None if told == (0, 0) else told


def _audit(record: BatchRecord, view: BatchView, brought: Brought) -> None:
    """Tell where the provider's usage of a whole batch isn't the sum of what its lines say, since it may bill by either."""
    told, found = _told(view), (brought.input_tokens, brought.output_tokens)
    if told is None or told == found:
        return
    log.warning(
        "batch %s: the provider's usage of the whole batch is %s tokens in and %s out, its lines add up to %s and %s; the "
        "run counts the lines. Compare the provider's bill.",
        record.batch_id,
        *(f"{tokens:,}" for tokens in (*told, *found)),
    )
