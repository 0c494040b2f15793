"""A person's yes before an expensive run: the run is suspended, its process ends, and the answer starts it again.

When it goes on, the flow begins at its top and plans anew, which is free; the answer is then at hand (prefect 3.8.8).
"""

import asyncio
import math
from contextlib import suppress
from decimal import Decimal
from typing import Literal

from prefect.context import FlowRunContext
from prefect.events.worker import EventsWorker
from prefect.flow_runs import asuspend_flow_run
from prefect.input import RunInput
from pydantic import ConfigDict, Field

from promptmill.approval import NotApproved, cap_budget, needs_approval, unpaid_usd
from promptmill.estimate import describe_estimate
from promptmill.forms import shape_section
from promptmill.runner import Run
from promptmill.terminal import format_seconds

FLUSH_SECONDS = 5.0
ORDER_SECONDS = 2.0  # between two events that a busy server is to see in this order: it takes several at once


class Approval(RunInput):
    """The form that the Prefect UI shows for a suspended run."""

    model_config = ConfigDict(json_schema_extra=shape_section)

    decision: Literal["approve", "reject"] = Field(description="approve: the run goes on. reject: nothing is sent.")
    budget_usd: float | None = Field(
        None, description="Approved, spend at most this for the output. Empty: the job's own budget."
    )


async def approve(run: Run) -> None:
    """Ask a person where the job says so and the run has more to pay than it allows.

    Raises: NotApproved for a no, and where nobody can be asked.
    """
    if run.prepared.job.approve_above_usd is None or not run.is_pending:
        return
    unpaid = await asyncio.to_thread(unpaid_usd, run)
    if not needs_approval(run, unpaid):
        return
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.deployment_id is None:
        raise NotApproved(
            f"the run is estimated at ${unpaid:,.4f}; the limit without asking is "
            f"${run.prepared.job.approve_above_usd} (approve_above_usd). Run it with --approve to say yes here, or start "
            "it from a deployment to be asked in the Prefect UI."
        )
    form = Approval.with_initial_data(description=_question(run, unpaid))
    await _send_heartbeats()
    answer = await asuspend_flow_run(
        wait_for_input=form, timeout=math.ceil(run.prepared.job.approve_within_seconds), key="approval"
    )
    if answer.decision == "reject":
        raise NotApproved(f"the run, estimated at ${unpaid:,.4f}, was rejected. Nothing was sent.")
    if answer.budget_usd is not None:
        cap_budget(run, Decimal(str(answer.budget_usd)))


async def _send_heartbeats() -> None:
    """A heartbeat that the server saw after the suspension would have the run taken for dead (automations.py)."""
    with suppress(TimeoutError):
        async with asyncio.timeout(FLUSH_SECONDS):
            await asyncio.to_thread(EventsWorker.instance().wait_until_empty)
    await asyncio.sleep(ORDER_SECONDS)


def _question(run: Run, unpaid: Decimal) -> str:
    """What a person decides upon, in Markdown."""
    assert run.preflight is not None  # noqa: S101 - it is pending
    estimate, job = run.preflight.estimate, run.prepared.job
    budget = "none" if job.budget_usd is None else f"${job.budget_usd}"
    return (
        f"**{job.name}** is estimated to cost **${unpaid:,.4f}** more ({run.mode}); it asks above "
        f"${job.approve_above_usd}.\n\n{estimate.rows:,} rows, {describe_estimate(estimate)}. Budget of this output: "
        f"{budget}.\n\nApprove or reject it; who approves may lower its budget. No answer within "
        f"{format_seconds(job.approve_within_seconds)} is a no."
    )
