"""Drafts the record of a plan while the first wave goes out, and writes it as soon as it holds for every row.

If no row is answered, tried or under way, the plan itself says which rows go out, and the record is written before the
first batch. Otherwise somebody has to look at each row: the wave looks at the rows up to the last one that it packs, and
`finish` looks at the rest.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from promptmill.batch.files import NumberedRequest
from promptmill.batch.ledger import Ledger
from promptmill.batch.pending_rows import Survey
from promptmill.batch.plan_record import (
    PlanRecord,
    answers_digest,
    answers_of_others,
    batches_of,
    forget_plan,
    settled_digest,
    source_digest,
    write_plan,
)
from promptmill.checkpoints.spend import SpendRecords
from promptmill.checkpoints.store import Listing
from promptmill.planning.kept import Kept
from promptmill.planning.plan import Plan
from promptmill.planning.sharing import places_text
from promptmill.runs.run import PendingRun


@dataclass(slots=True)
class Drafting:
    """The unfinished record of a plan."""

    run: PendingRun
    ledger: Ledger
    kept: Kept  # the ledger's state before the first batch of this plan
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    survey: Survey = field(init=False)
    has_answers: bool = field(init=False)
    _is_untouched: bool = field(init=False)

    def __post_init__(self) -> None:
        """Begin a draft from the answers and batches that exist before the plan's first batch."""
        plan, listing = self._plan, self.kept.listing
        self.survey = Survey(np.zeros(plan.rows, np.bool_))
        self.has_answers = any(listing.is_begun(key) for key in plan.keys)
        has_files = any(name.endswith(".parquet") for name in listing.sizes)
        self._is_untouched = not (has_files or self.ledger.live or self.ledger.collected)

    @property
    def _plan(self) -> Plan:
        return self.run.preflight.plan

    def begin(self) -> None:
        """Write the record if the plan alone is enough for it, else remove the previous one. Raises: StorageFailed."""
        if self._is_untouched:
            write_plan(self.ledger, self._record([chunk.taking for chunk in self._plan.chunks]))
        else:
            forget_plan(self.ledger)

    def finish(self, rest: Iterator[NumberedRequest]) -> None:
        """Look at the rows that the wave didn't reach, and write the record. Raises: InputChanged, StorageFailed."""
        if self._is_untouched:
            return
        for _ in rest:
            pass  # the loop only fills the survey
        find = self.survey.finder()
        for record in self.ledger.live:
            if not self.ledger.is_numbered(record, self.id):
                self.ledger.save_numbers(record.key, self.id, find(self.ledger.ids(record)))
        waits = self.survey.waits
        skipped = (np.flatnonzero(~waits[chunk.start : chunk.start + chunk.rows]) for chunk in self._plan.chunks)
        texts = [places_text(places, chunk.rows) for places, chunk in zip(skipped, self._plan.chunks, strict=True)]
        write_plan(self.ledger, self._record(texts))

    def _record(self, skipped: list[str]) -> PlanRecord:
        prepared, plan = self.run.prepared, self._plan
        sizes = answers_of_others(self.kept.listing, batches_of(self.ledger, self.id))
        usd = None
        if prepared.budget_usd is not None:
            usd = SpendRecords(prepared.store).cost_of_answers(Listing.of(sizes))
        if self.survey.saved:
            now = prepared.store.listing().sizes
            sizes |= {name: now[name] for name in self.survey.saved if name in now}
        return PlanRecord(
            id=self.id,
            source=source_digest(prepared, self.ledger.state),
            rows=plan.rows,
            asked=plan.asked,
            sizes=tuple(chunk.rows for chunk in plan.chunks),
            keys=tuple(plan.keys),
            skipped=tuple(skipped),
            repetitions=tuple(plan.repetitions.items()),
            tries=tuple(self.survey.tries),
            is_exact=not self._is_untouched,
            has_answers=self.has_answers,
            answers=answers_digest(sizes),
            answers_usd=usd,
            settled=settled_digest(self.ledger, self.id),
        )
