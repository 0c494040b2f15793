"""Whether a person is to be asked before a run, and what the answer changes."""

from dataclasses import replace
from decimal import Decimal

from promptmill.batch.ledger import Ledger
from promptmill.checkpoints.answer_files import ZERO_USD
from promptmill.checkpoints.spend import SpendRecords
from promptmill.errors import SetupError
from promptmill.limits.approved_cap import write_approved
from promptmill.planning.kept import find_kept
from promptmill.run.run import Run


class NotApproved(SetupError):
    """A person was to be asked and did not say yes; nothing was sent."""


def unpaid_usd(run: Run) -> Decimal:
    """The estimate of what a run has still to pay: chunks that are answered and rows in live batches are left out.

    Blocks. Raises: StorageFailed.
    """
    assert run.preflight is not None  # noqa: S101 - callers ask is_pending first
    plan, estimate = run.preflight.plan, run.preflight.estimate
    kept = find_kept(run.prepared.store, plan, run.retry_before)
    waiting = sum(chunk.input_tokens for chunk in plan.chunks if kept.finished(chunk) is None)
    if run.mode == "batch":
        waiting -= sum(one.input_tokens for one in Ledger(run.prepared.store.storage).load().live)
    share = Decimal(max(0, waiting)) / max(1, plan.input_tokens)
    return (estimate.usd(run.mode) * share).quantize(Decimal("0.000001"))


def left_usd(run: Run) -> Decimal | None:
    """What is left of the amount that a person approved, live batches counted as spent; None where no such cap holds.

    Blocks. Raises: StorageFailed.
    """
    store, cap = run.prepared.store, run.prepared.budget_usd
    if run.prepared.approved_cap is None or cap is None:
        return None
    reserved = sum((one.reserved_usd for one in Ledger(store.storage).load().live), ZERO_USD)
    return max(ZERO_USD, cap - SpendRecords(store).spent_at_most(store.listing()) - reserved)


def needs_approval(run: Run, unpaid: Decimal, left: Decimal | None = None) -> bool:
    """Whether so much is more than the job allows without asking, or than is left of what was approved before."""
    limit = run.prepared.job.approve_above_usd
    return limit is not None and (unpaid > limit or (left is not None and unpaid > left))


def is_answered(run: Run, question: str) -> bool:
    """Whether a yes to this very question is at hand, as after a crash."""
    return run.prepared.approved is not None and run.prepared.approved.question == question


def keep_approval(run: Run, budget_usd: Decimal | None, question: str | None = None) -> None:
    """Have a yes hold for this run and every later one over its output; no amount lifts the one approved before.

    Blocks. A higher amount than the job's own budget doesn't raise it. Raises: NotApproved when it is 0; StorageFailed.
    """
    if budget_usd is not None and budget_usd <= 0:
        raise NotApproved(f"approved with a budget of ${budget_usd}, which pays for no request. Nothing was sent.")
    approved = write_approved(run.prepared.store.storage, budget_usd, question)
    run.prepared = replace(run.prepared, approved=approved)
