"""Keeps the result of a whole plan beside the ledger, so that later steps submit rows without planning again.

    _checkpoints/batches/_plan

The record lists the chunks, and the rows that never go into a batch of this run. Only the ledger says which rows are
submitted, so the two can't contradict each other (waiting.py).
The record is valid while the input, the job and the answers that other runs gave stay the same. Otherwise the step plans
the whole input and writes the record again. So deleting it costs one plan.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from hashlib import blake2b
from itertools import accumulate

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import TypeAdapter

from promptmill.batch.ledger import Ledger
from promptmill.batch.ledger_errors import unwritable
from promptmill.batch.record import BatchRecord, LedgerState
from promptmill.checkpoints.store import BATCH_ROWS, Listing
from promptmill.planning.plan import Chunk, Plan
from promptmill.planning.prepared_job import Prepared
from promptmill.planning.sharing import marks_of
from promptmill.state_files import StateFile
from promptmill.storage import STORAGE_ERRORS

log = logging.getLogger("promptmill")
_NAME = "batches/_plan"


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """A plan without the rows' requests."""

    id: str  # part of the names of the files that hold row numbers
    source: str  # digest of the input and the job (source_digest)
    rows: int
    asked: int  # requests, if nothing were answered
    sizes: tuple[int, ...]  # rows of each chunk
    keys: tuple[str, ...]  # of the chunks
    skipped: tuple[str, ...]  # for each chunk, the rows that go into no batch, in the format of planning/sharing.py
    repetitions: tuple[tuple[int, int], ...]  # row number, how many earlier rows have its custom_id
    tries: tuple[tuple[int, int, int], ...]  # row number, how often it was tried and perhaps billed before this plan
    is_exact: (
        bool  # False: rows before the last one in a batch were passed over, for reasons that `skipped` doesn't have
    )
    has_answers: bool  # whether earlier runs left answers
    answers: str  # digest of the answer files that don't come from the batches of this plan
    answers_usd: Decimal | None  # what these answers cost; None where the job had no budget
    settled: str  # digest of the batches that were over when the plan was made
    digest: str = ""  # of all other fields

    def sealed(self) -> "PlanRecord":
        """The record with its digest."""
        return replace(self, digest=_digest(_FORM.dump_json(replace(self, digest=""))))

    def as_plan(self, fingerprint: str) -> Plan:
        """The plan in the form that reading and rendering its chunks needs."""
        parts = zip(self.starts, self.sizes, self.keys, strict=True)
        chunks = [Chunk(index, start, rows, key, 0, 0) for index, (start, rows, key) in enumerate(parts)]
        return Plan(chunks=chunks, rows=self.rows, repetitions=dict(self.repetitions), fingerprint=fingerprint)

    @property
    def starts(self) -> list[int]:
        """The number of each chunk's first row."""
        return [0, *accumulate(self.sizes)][:-1]

    def skipped_rows(self) -> NDArray[np.bool_]:
        """For each row, whether it stays out of the batches of this run."""
        found = np.zeros(self.rows, np.bool_)
        for start, rows, text in zip(self.starts, self.sizes, self.skipped, strict=True):
            if text:
                found[start : start + rows] = marks_of(text, rows)
        return found


_FORM: TypeAdapter[PlanRecord] = TypeAdapter(PlanRecord)
_FILE: StateFile[PlanRecord] = StateFile(
    _FORM,
    purpose="It keeps the steps of batches from planning the whole input each time.",
    way_on="The next step that submits rows plans the input and writes the file again.",
)


def read_plan(ledger: Ledger) -> PlanRecord | None:
    """The record; None when there is none or it is damaged. Raises: StorageFailed."""
    found = _FILE.read(ledger.storage, _NAME)
    if found is not None and found.sealed() != found:
        log.warning(
            "%s/%s is damaged; Promptmill plans the input again and writes it again", ledger.storage.shown, _NAME
        )
        return None
    return found


def write_plan(ledger: Ledger, record: PlanRecord) -> None:
    """Replace the record. Raises: StorageFailed."""
    try:
        ledger.storage.write(_NAME, _FORM.dump_json(record.sealed()))
    except STORAGE_ERRORS as error:
        raise unwritable(ledger.storage, _NAME, error) from error


def forget_plan(ledger: Ledger) -> None:
    """Remove the record, so that the next step that submits rows plans the whole input. Raises: StorageFailed."""
    try:
        ledger.storage.delete([_NAME])
    except STORAGE_ERRORS as error:
        raise unwritable(ledger.storage, _NAME, error) from error


def source_digest(prepared: Prepared, state: LedgerState) -> str:
    """A digest of everything that decides which rows are submitted and how: input, request, tries, failures to retry."""
    job = prepared.job
    parts = [
        prepared.identity,
        job.input.model_dump(mode="json"),
        job.request.model_dump(mode="json"),
        [job.chunk_rows, job.retry.max_attempts, job.batch.leftovers],
        [state.started_at, state.retry_before, state.retry_all],
    ]
    return _digest(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS))


def settled_digest(ledger: Ledger, plan: str) -> str:
    """A digest of the batches that were over before this plan, so that the plan doesn't number their rows."""
    return _digest_of_names(record.key for record in ledger.records.values() if not ledger.is_numbered(record, plan))


def batches_of(ledger: Ledger, plan: str) -> list[BatchRecord]:
    """The batches whose rows this plan numbers."""
    return [record for record in ledger.records.values() if ledger.is_numbered(record, plan)]


def answers_of_others(listing: Listing, ours: Iterable[BatchRecord]) -> dict[str, int]:
    """Names and bytes of the answer files that don't come from these batches."""
    keys = {record.key for record in ours}
    answers = {name: size for name, size in listing.sizes.items() if name.endswith(".parquet")}
    return {name: size for name, size in answers.items() if _batch_of(name) not in keys}


def has_lost_answers(listing: Listing, ours: Iterable[BatchRecord]) -> bool:
    """Whether somebody removed the answers of one of these batches."""
    found = {_batch_of(name) for name in listing.sizes}
    return any(record.answered and record.state == "collected" and record.key not in found for record in ours)


def _batch_of(name: str) -> str:
    """The key of the batch that brought an answer file; "" for any other file."""
    return name.removeprefix(BATCH_ROWS).rpartition("-")[0] if name.startswith(BATCH_ROWS) else ""


def answers_digest(sizes: dict[str, int]) -> str:
    """A digest of answer files' names and bytes."""
    return _digest_of_names(f"{name} {size}" for name, size in sizes.items())


def _digest_of_names(names: Iterable[str]) -> str:
    return _digest("\n".join(sorted(names)).encode())


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()
