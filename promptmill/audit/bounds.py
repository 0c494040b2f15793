"""The bounds between which a provider's bill for an output lies, and the table that adds up to them. Pure.

    known    the usage that the provider told, as far as an answer or a record holds it
    at most  in addition: attempts without a readable answer, requests that a killed process had under way, batches whose
             results aren't collected, tokens that Promptmill counted itself

The bounds depend on the prices and on the most that a request can cost. If a job sets no output limit, a lost answer
counts as one and a half times the longest answer before it (limits/output_guess.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from promptmill.audit.records import BatchMoney, Books
from promptmill.checkpoints.answer_files import ZERO_USD
from promptmill.checkpoints.kept_money import KeptSums, TokenSums
from promptmill.limits.pricing import PriceList
from promptmill.records import Usage


@dataclass(frozen=True, slots=True)
class AuditRow:
    """A line of the table."""

    name: str
    rows: int  # rows, answers, attempts or batches, as the name says
    known_usd: Decimal = ZERO_USD
    at_most_usd: Decimal = ZERO_USD  # in addition to `known_usd`
    saved_usd: Decimal | None = None  # what it would have cost on top; None: it saves nothing, or nobody knows
    is_part: bool = False  # part of a line above, so the sum leaves it out


@dataclass(frozen=True, slots=True)
class BatchCheck:
    """The usage that the provider tells for a whole batch, beside the sum of its lines."""

    batch_id: str
    told_tokens: tuple[int, int]  # input, output
    counted_tokens: tuple[int, int]
    difference_usd: Decimal  # how much more the provider's usage costs, at the batch price, without cached tokens
    uncertain_usd: Decimal  # reserved for lost lines, which may explain the difference


@dataclass(frozen=True, slots=True)
class Audit:
    """`known_usd` ≤ bill ≤ `at_most_usd`."""

    known_usd: Decimal
    at_most_usd: Decimal
    rows: tuple[AuditRow, ...]
    batches: tuple[BatchCheck, ...]
    unreadable_files: int = 0


def audit_of(
    books: Books, prices: PriceList | None = None, tier: str | None = None, published_usd: Decimal = ZERO_USD
) -> Audit:
    """The audit of an output. Without prices it has no savings and no differences from the batches' own usage.

    `tier` is the service tier of the job; `published_usd` is the cost of its published rows by the manifest.
    """
    checks = _checks(books.found.batches, prices)
    rows = [*_answers(books), *_risks(books), *_batches(books, checks)]
    known_usd = sum((row.known_usd for row in rows if not row.is_part), ZERO_USD)
    spent_usd = sum((run.spent_usd for run in books.found.accounts.runs), ZERO_USD)
    gone_usd = max(ZERO_USD, spent_usd - known_usd, _published(books.kept, published_usd) - known_usd)
    if gone_usd:
        rows.append(AuditRow("paid for, and kept no longer", 0, gone_usd))
    at_most_usd = sum((row.known_usd + row.at_most_usd for row in rows if not row.is_part), ZERO_USD)
    rows += _savings(books.kept, prices, tier)
    return Audit(known_usd + gone_usd, at_most_usd, tuple(rows), checks, books.unreadable)


def _published(kept: KeptSums, published_usd: Decimal) -> Decimal:
    """The cost of the published rows by the manifest; 0 if some of these costs are our own estimates."""
    return ZERO_USD if kept.estimated_steps else published_usd


def _answers(books: Books) -> list[AuditRow]:
    kept, runs = books.kept, books.found.accounts.runs
    step = Decimal("1e-12")
    estimated_usd = kept.estimated_steps * step
    retried_usd = sum((run.retried_usd for run in runs), ZERO_USD)
    rows = [
        AuditRow("delivered", kept.delivered, kept.delivered_steps * step),
        AuditRow("failed, and paid for", kept.failed, kept.failed_steps * step),
        AuditRow("retried and paid", sum(run.retried for run in runs), retried_usd, is_part=True),
    ]
    if estimated_usd:  # the lines above hold it as a known cost
        rows.append(AuditRow("of that, counted by us: the provider told no usage", 0, -estimated_usd, estimated_usd))
    if kept.again_at_most_steps or kept.again_known_steps:
        least, most = kept.again_known_steps * step, kept.again_at_most_steps * step
        rows.append(AuditRow("further answers to the same rows", 0, least, max(ZERO_USD, most - least)))
    if cleaned := books.found.accounts.cleaned:
        least = sum((record.known_usd for record in cleaned), ZERO_USD)
        most = sum((record.at_most_usd for record in cleaned), ZERO_USD)
        rows.append(AuditRow("removed by promptmill clean", 0, least, max(ZERO_USD, most - least)))
    return rows


def _risks(books: Books) -> list[AuditRow]:
    runs = books.found.accounts.runs
    lost_usd = sum((run.lost_usd for run in runs), ZERO_USD)
    uncertain_usd = sum((run.uncertain_usd for run in runs), ZERO_USD)
    closed_usd = sum((run.exposed_usd for run in runs if run.is_closed), ZERO_USD)
    killed = [run for run in runs if not run.is_closed]
    exposed_usd = sum((run.exposed_usd for run in killed), ZERO_USD)
    rows = [
        AuditRow("lost with a broken connection", sum(run.uncertain for run in runs), ZERO_USD, uncertain_usd),
        AuditRow("in flight at a crash, or now", sum(run.in_flight for run in killed), ZERO_USD, exposed_usd),
    ]
    if lost_usd or closed_usd:
        rows.append(AuditRow("answered, and not saved", 0, lost_usd, closed_usd))
    if books.found.earlier_usd:
        rows.append(AuditRow("lost before there was a ledger", 0, ZERO_USD, books.found.earlier_usd))
    return rows


def _batches(books: Books, checks: Sequence[BatchCheck]) -> list[AuditRow]:
    found = books.found
    if not found.batches:
        return []
    live = [record for record in found.batches if record.is_open]
    live_usd = sum((max(ZERO_USD, batch.reserved_usd - _saved(books, batch)) for batch in live), ZERO_USD)
    lost_usd = sum((record.lost_usd for record in found.batches), ZERO_USD)
    more_usd = sum((max(ZERO_USD, check.difference_usd - check.uncertain_usd) for check in checks), ZERO_USD)
    kept_usd = books.kept.batch.usd + sum((record.batch_usd for record in found.accounts.cleaned), ZERO_USD)
    collected_usd = sum((record.cost_usd for record in found.batches), ZERO_USD)
    replaced_usd = max(ZERO_USD, collected_usd - kept_usd)
    return [
        AuditRow("batches under way, or not collected", len(live), ZERO_USD, live_usd),
        AuditRow("lost with lines of batches", 0, ZERO_USD, lost_usd),
        *([AuditRow("batches' own usage beyond their lines", 0, ZERO_USD, more_usd)] if more_usd else []),
        *([AuditRow("answers of batches that later ones replaced", 0, ZERO_USD, replaced_usd)] if replaced_usd else []),
    ]


def _saved(books: Books, batch: BatchMoney) -> Decimal:
    """US dollars of a batch's answers that are already saved, though its record doesn't say so yet."""
    return books.found.saved_usd.get(batch.key, ZERO_USD)


def _checks(batches: Sequence[BatchMoney], prices: PriceList | None) -> tuple[BatchCheck, ...]:
    found: list[BatchCheck] = []
    for record in batches:
        told, counted = record.told_tokens, record.counted_tokens
        if told is None or counted is None:
            continue
        usd = ZERO_USD
        if prices is not None:
            usd = prices.tokens_usd(*told, "batch") - prices.tokens_usd(*counted, "batch")
        found.append(BatchCheck(record.batch_id, told, counted, usd, record.lost_usd))
    return tuple(found)


def _savings(kept: KeptSums, prices: PriceList | None, tier: str | None) -> list[AuditRow]:
    own = kept.delivered - kept.shared - kept.cached
    usual_usd = None
    if own > 0:
        usual_usd = kept.delivered_steps * Decimal("1e-12") / own
    rows = [
        AuditRow("shared: took another row's answer", kept.shared, saved_usd=_times(usual_usd, kept.shared)),
        AuditRow("from the cache", kept.cached, saved_usd=_times(usual_usd, kept.cached)),
    ]
    if prices is None:
        return rows
    cached = kept.online.cached + kept.batch.cached
    a_cached_token = prices.tokens_usd(1, 0) - prices.price(Usage(1, 1, 0))
    flex_usd = ZERO_USD
    if tier == "flex":
        flex_usd = _discount(kept.online, prices)
    return [
        *rows,
        AuditRow("saved by prompt caching", 0, saved_usd=max(ZERO_USD, cached * a_cached_token)),
        AuditRow("saved by batch", 0, saved_usd=_discount(kept.batch, prices)),
        AuditRow("saved by flex", 0, saved_usd=flex_usd),
    ]


def _times(usd: Decimal | None, rows: int) -> Decimal | None:
    return None if usd is None else (usd * rows).quantize(Decimal("1e-12"))


def _discount(tokens: TokenSums, prices: PriceList) -> Decimal:
    """How much more the same tokens would have cost at the standard price; cached tokens keep the cached price."""
    cached_usd = tokens.cached * prices.price(Usage(1, 1, 0))
    plain_usd = prices.tokens_usd(tokens.input - tokens.cached, tokens.output) + cached_usd
    return max(ZERO_USD, plain_usd - tokens.usd)
