"""Compares the provider's costs report for the days of an output with the audit's bounds. Pure.

The report is OpenAI's `GET /organization/costs`: US dollars for each UTC day and line item, such as `gpt-6-luna, input_tokens`,
of a project or of the whole organization. It also counts other work with the same model on these days, so it is no bill
for one output. Source: API reference, "Costs", and the installed SDK, both read 2026-11-28.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from promptmill.audit.bounds import Audit
from promptmill.audit.records import Found
from promptmill.checkpoints.answer_files import ZERO_USD

_DAY_SECONDS = 86_400
_CENT = Decimal("0.01")
_VERSION = re.compile(r"-\d{4}-\d{2}-\d{2}$")  # OpenAI's dated snapshots


@dataclass(frozen=True, slots=True)
class CostLine:
    """A line item's costs on one UTC day."""

    day: date
    item: str
    usd: Decimal


@dataclass(frozen=True, slots=True)
class CostsCheck:
    """The provider's report beside the audit's bounds, both in US dollars."""

    days: tuple[
        tuple[date, Decimal], ...
    ]  # what the report has for the model, day by day; a day without costs is left out
    items: tuple[tuple[str, Decimal], ...]  # line item → US dollars over all days
    reported_usd: Decimal
    known_usd: Decimal
    at_most_usd: Decimal

    @property
    def difference_usd(self) -> Decimal:
        """US dollars by which the report lies outside the bounds; positive if the report has more."""
        if self.reported_usd < self.known_usd:
            return self.reported_usd - self.known_usd
        return max(ZERO_USD, self.reported_usd - self.at_most_usd)


def first_day(found: Found) -> float | None:
    """Start of the UTC day of the first paid request, in seconds since the epoch; None: nobody knows."""
    began = [*(run.began_at for run in found.accounts.runs), *(batch.packed_at for batch in found.batches)]
    known = [seconds for seconds in began if seconds > 0]
    return min(known) // _DAY_SECONDS * _DAY_SECONDS if known else None


def day_of(seconds: float) -> date:
    """The UTC day of a time. Raises: ValueError, OverflowError and OSError for a time that no calendar has."""
    return datetime.fromtimestamp(seconds, UTC).date()


def compare(lines: Sequence[CostLine], models: Iterable[str], audit: Audit) -> CostsCheck:
    """The report's lines of these models beside the audit."""
    names = {_without_version(model) for model in models}
    ours = [line for line in lines if _without_version(line.item.partition(",")[0]) in names]
    days, items = dict[date, Decimal](), dict[str, Decimal]()
    for line in ours:
        days[line.day] = days.get(line.day, ZERO_USD) + line.usd
        items[line.item] = items.get(line.item, ZERO_USD) + line.usd
    reported_usd = sum(days.values(), ZERO_USD)
    return CostsCheck(
        tuple(sorted((day, usd) for day, usd in days.items() if usd)),
        tuple(sorted((item, usd) for item, usd in items.items() if usd)),
        reported_usd,
        audit.known_usd,
        audit.at_most_usd,
    )


def _without_version(model: str) -> str:
    return _VERSION.sub("", model.strip().lower())


def costs_values(check: CostsCheck) -> dict[str, Any]:
    """The check as JSON values, money as decimal strings."""
    return {
        "days": [{"day": day.isoformat(), "usd": f"{usd:f}"} for day, usd in check.days],
        "items": [{"item": item, "usd": f"{usd:f}"} for item, usd in check.items],
        "reported_usd": f"{check.reported_usd:f}",
        "difference_usd": f"{check.difference_usd:f}",
    }


def costs_sentences(check: CostsCheck, model: str, scope: str) -> list[str]:
    """Says what the report has, how far that is from the audit, and what may explain the difference."""
    if not check.days:
        return [
            f"The provider's costs report has no costs of {model} {scope} on the days of this output. It comes up to a day "
            "late; or the admin key belongs to another organization."
        ]
    days = ", ".join(f"{day.isoformat()} ${_cents(usd)}" for day, usd in check.days)
    items = ", ".join(f"{item} ${_cents(usd)}" for item, usd in check.items)
    told = f"The provider's costs report has ${_cents(check.reported_usd)} of {model} {scope}: {days}. By line item: {items}."
    return [told, _verdict(check, model, scope)]


def _verdict(check: CostsCheck, model: str, scope: str) -> str:
    difference = check.difference_usd
    if abs(difference) < _CENT / 2:
        return "That fits this output's bounds to the cent."
    if difference > 0:
        return (
            f"That is ${_cents(difference)} more than this output can have cost: other work used {model} {scope} on these "
            "days. Give each job a project of its own (OPENAI_PROJECT_ID) to see its costs alone."
        )
    return (
        f"That is ${_cents(-difference)} less than this output's answers cost: the report comes up to a day late, the output's "
        "answers were paid by another project or organization, or the provider's prices are lower than the job's `pricing`."
    )


def _cents(usd: Decimal) -> str:
    return f"{usd.quantize(_CENT):,}" if abs(usd) >= _CENT else f"{usd:f}"
