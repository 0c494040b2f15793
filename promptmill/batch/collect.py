"""Fetch a batch's result files and keep them: answers among all answers, leftovers beside the ledger."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from promptmill.batch.api import BatchProvider
from promptmill.batch.ledger import BatchRecord, Ledger
from promptmill.batch.policy import BatchView
from promptmill.batch.results import Expected, Places, Reading, read_slices, total_cost
from promptmill.checkpoints.answer_files import ZERO_USD, answers_table
from promptmill.planning.prepared_job import Prepared
from promptmill.provider.attempt import VectorHabits
from promptmill.provider.billing import Billing
from promptmill.records import Failure, Result

log = logging.getLogger("promptmill")


@dataclass(slots=True)
class Brought:
    """What a batch's results brought."""

    answered: int = 0  # rows with a result or a final failure
    refused: int = 0  # of those, failures
    cost_usd: Decimal = ZERO_USD
    unread: int = 0  # rows whose answers can't be read; they are billed all the same
    halt: str = ""  # why the whole run has to stop, where a line says so


def download_results(provider: BatchProvider, view: BatchView, folder: Path) -> list[Path] | None:
    """The result files that a batch names, on this machine's disk; None when one of them isn't there."""
    paths: list[Path] = []
    for number, file_id in enumerate(name for name in (view.output_file_id, view.error_file_id) if name):
        paths.append(folder / f"{number}.jsonl")
        if not provider.download(file_id, paths[-1]):
            return None
    return paths


def reading_of(
    prepared: Prepared,
    secrets: Sequence[str],
    expected: Expected,
    places: Places,
    not_before: float | None = None,
    *,
    had_answers: bool = False,
) -> Reading:
    """How the lines of a job are read; an answer without usage is taken to have cost what was `expected`.

    Other lines tell whose fault a refusal is, and so does it if the job `had_answers` before.
    No result gets a time before `not_before` (seconds since the epoch).
    """
    validate = prepared.schema.validate if prepared.schema is not None else None
    billing = Billing(prepared.prices, "batch", prepared.counter.count, is_tier_fixed=True)
    request = prepared.job.request
    return Reading(
        request.endpoint,
        billing,
        validate,
        secrets,
        expected,
        has_answers=had_answers or places.answered > 0,
        vectors=VectorHabits(dimensions=prepared.builder.dimensions),
        allow_empty=request.allow_empty,
        not_before=not_before or 0.0,
    )


def keep_results(
    prepared: Prepared, ledger: Ledger, record: BatchRecord, places: Places, secrets: Sequence[str]
) -> Brought:
    """Save a batch's answers, and why other rows have none. Raises: StorageFailed."""
    brought, leftovers = Brought(), list[Result]()
    requests = max(1, record.requests)
    expected = Expected(-(-record.input_tokens // requests), record.reserved_usd / requests)
    had_answers = any(known.answered > known.refused for known in ledger.collected)
    reading = reading_of(prepared, secrets, expected, places, ledger.state.retry_before, had_answers=had_answers)
    for number, part in enumerate(read_slices(places, reading)):
        if part.results:
            prepared.store.save_slice(f"{record.key}-{number:05d}", answers_table(part.results))
        brought.answered += len(part.results)
        brought.refused += sum(isinstance(result, Failure) for result in part.results)
        brought.cost_usd += total_cost(part.results)
        brought.unread += part.unread
        brought.halt = brought.halt or part.halt
        leftovers.extend(part.leftovers)
    if leftovers:
        ledger.save_leftovers(record, answers_table(leftovers))
    log.info(
        "batch %s collected: %d answered, %d to be tried again, %d missing, %d torn and %d foreign lines, $%s",
        record.batch_id,
        brought.answered,
        len(leftovers),
        places.missing,
        places.unreadable,
        places.foreign,
        brought.cost_usd.normalize(),
    )
    return brought
