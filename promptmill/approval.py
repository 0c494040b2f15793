"""Whether a person is to be asked before a run, and what the answer changes."""

from dataclasses import replace
from decimal import Decimal

from promptmill.batch_ledger import Ledger
from promptmill.errors import SetupError
from promptmill.rows import find_kept
from promptmill.runner import Run


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


def needs_approval(run: Run, unpaid: Decimal) -> bool:
    """Whether so much is more than the job allows without asking."""
    limit = run.prepared.job.approve_above_usd
    return limit is not None and unpaid > limit


def cap_budget(run: Run, budget_usd: Decimal) -> None:
    """Lower what a run may spend; a higher cap than the job's own is not taken. Raises: NotApproved when it is 0."""
    if budget_usd <= 0:
        raise NotApproved(f"approved with a budget of ${budget_usd}, which pays for no request. Nothing was sent.")
    job = run.prepared.job
    cap = budget_usd if job.budget_usd is None else min(job.budget_usd, budget_usd)
    run.prepared = replace(run.prepared, job=job.model_copy(update={"budget_usd": cap}))
