"""Fetch a batch's result files and keep them: answers among all answers, leftovers beside the ledger."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

from promptmill.batch.api import BatchProvider
from promptmill.batch.ledger import BatchRecord, Ledger
from promptmill.batch.places import Places
from promptmill.batch.policy import BatchView
from promptmill.batch.results import Expected, Reading, Slice, read_slices, total_cost
from promptmill.batch.row_numbers import UNSURE
from promptmill.checkpoints.answer_files import ZERO_USD, answers_table
from promptmill.planning.prepared_job import Prepared
from promptmill.provider.attempt import VectorHabits
from promptmill.provider.billing import Billing
from promptmill.records import Failure, Result

log = logging.getLogger("promptmill")
_MOST_UNREAD = 5  # answers; if the first of a job are all unreadable, it stops


@dataclass(slots=True)
class Brought:
    """What a batch's results brought."""

    answered: int = 0  # rows with a result or a final failure
    refused: int = 0  # of those, failures
    cost_usd: Decimal = ZERO_USD
    input_tokens: int = 0
    output_tokens: int = 0
    unread: int = 0  # rows whose answers can't be read; the provider bills them all the same
    halt: str = ""  # why the whole run has to stop, if a line says so

    def add(self, part: Slice) -> None:
        """Count some of the rows."""
        self.answered += len(part.results)
        self.refused += sum(isinstance(result, Failure) for result in part.results)
        self.cost_usd += total_cost(part.results)
        self.input_tokens += sum(result.usage.input_tokens for result in part.results)
        self.output_tokens += sum(result.usage.output_tokens for result in part.results)
        self.unread += part.unread
        self.halt = self.halt or part.halt


def download_results(provider: BatchProvider, view: BatchView, folder: Path) -> list[Path] | None:
    """Download the result files that a batch names; None if the provider doesn't have one of them."""
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
    is_canary: bool = False,
) -> Reading:
    """How to read the lines of a job. An answer without usage counts as `expected`.

    If a line was refused, the other lines tell whether its row or the whole job is at fault; so do earlier answers
    (`had_answers`). No result gets a time before `not_before` (seconds since the epoch).
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
        is_canary=is_canary,
        vectors=VectorHabits(dimensions=prepared.builder.dimensions),
        allow_empty=request.allow_empty,
        not_before=not_before or 0.0,
    )


def keep_results(
    prepared: Prepared, ledger: Ledger, record: BatchRecord, places: Places, secrets: Sequence[str]
) -> Brought:
    """Save a batch's answers, why other rows have none, and which rows wait again. Raises: StorageFailed."""
    brought, leftovers = Brought(), list[Result]()
    outcomes = np.full(record.requests, UNSURE, np.uint8)
    requests = max(1, record.requests)
    expected = Expected(-(-record.input_tokens // requests), record.reserved_usd / requests)
    had_answers = any(known.answered > known.refused for known in ledger.collected)
    reading = reading_of(
        prepared,
        secrets,
        expected,
        places,
        ledger.state.retry_before,
        had_answers=had_answers,
        is_canary=record.is_canary and places.refused == record.requests,
    )
    for number, part in enumerate(read_slices(places, reading, ledger.text_tokens(record))):
        if part.results:
            prepared.store.save_slice(f"{record.key}-{number:05d}", answers_table(part.results))
        brought.add(part)
        leftovers.extend(part.leftovers)
        for place, outcome in part.outcomes:
            outcomes[place] = outcome
    if not had_answers and not brought.halt:
        brought.halt = _unreadable_alike(brought, leftovers)
    if leftovers:
        ledger.save_leftovers(record, answers_table(leftovers))
    if brought.answered < record.requests:
        ledger.save_outcomes(record, outcomes)
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


def _unreadable_alike(brought: Brought, leftovers: Sequence[Result]) -> str:
    """Why the run has to stop if none of the first answers can be read; else empty. The provider bills each of them."""
    if brought.unread < _MOST_UNREAD or brought.unread < len(leftovers) or brought.answered:
        return ""
    said = next((result.message for result in leftovers if isinstance(result, Failure)), "")
    return (
        f"none of the provider's {brought.unread:,} answers can be read, and each is billed: {said}. Check request.endpoint, "
        "request.model and OPENAI_BASE_URL, then run the same command again."
    )
