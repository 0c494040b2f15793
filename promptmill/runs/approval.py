"""Whether a person has to approve a run, and what the answer changes."""

from dataclasses import dataclass, replace
from decimal import Decimal

from promptmill.checkpoints.answer_files import ZERO_USD
from promptmill.checkpoints.spend import SpendRecords
from promptmill.errors import SetupError
from promptmill.limits.approved_cap import write_approved
from promptmill.planning.kept import find_kept
from promptmill.runs.run import PendingRun


class NotApproved(SetupError):
    """A person had to approve the run and didn't; nothing was sent."""


@dataclass(frozen=True, slots=True)
class InBatches:
    """What the live batches of an output hold."""

    input_tokens: int = 0
    reserved_usd: Decimal = ZERO_USD


_NO_BATCHES = InBatches()


def unpaid_usd(run: PendingRun, in_batches: InBatches = _NO_BATCHES) -> Decimal:
    """The estimate of what a run has still to pay, without the chunks that are answered and the rows in live batches.

    Blocks. Raises: StorageFailed.
    """
    plan, estimate = run.preflight.plan, run.preflight.estimate
    kept = find_kept(run.prepared.store, plan, run.again)
    waiting = sum(chunk.input_tokens for chunk in plan.chunks if kept.finished(chunk) is None)
    if run.mode == "batch":
        waiting -= in_batches.input_tokens
    share = Decimal(max(0, waiting)) / max(1, plan.input_tokens)
    return (estimate.usd(run.mode) * share).quantize(Decimal("0.000001"))


def left_usd(run: PendingRun, in_batches: InBatches = _NO_BATCHES) -> Decimal | None:
    """What is left of the amount that a person approved, live batches counted as spent; None where no such cap holds.

    Blocks. Raises: StorageFailed.
    """
    store, cap = run.prepared.store, run.prepared.budget_usd
    if run.prepared.binding_approval is None or cap is None:
        return None
    return max(ZERO_USD, cap - SpendRecords(store).spent_at_most(store.listing()) - in_batches.reserved_usd)


def needs_approval(run: PendingRun, unpaid: Decimal, left: Decimal | None = None) -> bool:
    """Whether the run has to pay more than its job allows without asking, or more than is left of an approved amount."""
    limit = run.prepared.job.approve_above_usd
    return limit is not None and (unpaid > limit or (left is not None and unpaid > left))


def why_asked(run: PendingRun, unpaid: Decimal, left: Decimal | None) -> str:
    """Why a person has to approve the run."""
    limit = run.prepared.job.approve_above_usd
    assert limit is not None  # noqa: S101 - else nobody is asked
    if unpaid > limit or left is None:
        return f"the run is estimated at ${unpaid:,.4f}; the limit without asking is ${limit} (approve_above_usd)."
    return f"the run is estimated at ${unpaid:,.4f}; of the ${run.prepared.budget_usd} approved before, ${left:,.4f} is left."


def is_answered(run: PendingRun, question: str) -> bool:
    """Whether a person has approved this very question already, as after a crash."""
    return run.prepared.approved is not None and run.prepared.approved.question == question


def keep_approval(run: PendingRun, budget_usd: Decimal | None, question: str | None = None) -> PendingRun:
    """The approved run. The approval holds for every later run over its output; without an amount it lifts an earlier one.

    Blocks. An amount above the job's own budget doesn't raise that budget. Raises: NotApproved when it is 0; StorageFailed.
    """
    if budget_usd is not None and budget_usd <= 0:
        raise NotApproved(f"approved with a budget of ${budget_usd}, which pays for no request. Nothing was sent.")
    approved = write_approved(run.prepared.store.storage, budget_usd, question)
    return replace(run, prepared=replace(run.prepared, approved=approved))
