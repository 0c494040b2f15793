"""The audit of an output while a run publishes it: the answers that it reads anyway are read once."""

import logging
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from promptmill.audit.bounds import audit_of
from promptmill.audit.records import Books, Found, begin_books
from promptmill.audit.table import audit_values
from promptmill.checkpoints.kept_money import KeptMoney
from promptmill.errors import OutputError
from promptmill.limits.pricing import requested_tier
from promptmill.planning.plan import Plan
from promptmill.planning.prepared_job import Prepared

log = logging.getLogger("promptmill")


@dataclass(frozen=True, slots=True)
class Auditing:
    """An audit that waits for the answers of the run's chunks."""

    prepared: Prepared
    found: Found
    money: KeptMoney
    unreadable: int

    def add(self, answers: pa.Table) -> None:
        """Take the answers of some rows, each row once."""
        self.money.add_planned(answers)

    def values(self) -> dict[str, Any]:
        """The audit as JSON values; call it once, after the last answers."""
        books = Books(self.found, self.money.sums(), self.unreadable)
        tier = requested_tier(self.prepared.job.request.sent_parameters)
        return audit_values(audit_of(books, self.prepared.prices, tier), self.prepared.job.tags)


def begin_audit(prepared: Prepared, plan: Plan) -> Auditing | None:
    """The audit of a run that publishes; None where a record is damaged, which keeps no output from being published.

    Blocks. Raises: StorageFailed.
    """
    try:
        return Auditing(prepared, *begin_books(prepared.store, [f"{key}.parquet" for key in plan.keys]))
    except OutputError as error:
        log.warning("the report has no audit: %s", error)
        return None
