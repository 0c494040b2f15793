"""Asks a person before an expensive run: suspends the run, whose process ends; the answer starts it again.

Then the flow begins at its top and plans again, which is free; now it has the answer (prefect 3.8.8). A yes holds for the
run until it ends by itself, so a crash at night asks nobody again. Its amount holds for the output until somebody approves
again (promptmill/limits/approved_cap.py).
"""

import asyncio
import logging
import math
from contextlib import suppress
from decimal import Decimal
from typing import Literal
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.flow_runs import asuspend_flow_run
from prefect.input import RunInput
from pydantic import ConfigDict, Field, ValidationError

from promptmill.batch.live import in_batches
from promptmill.job.form import shape_section
from promptmill.planning.estimate import describe_estimate
from promptmill.runs.approval import (
    NotApproved,
    is_answered,
    keep_approval,
    left_usd,
    needs_approval,
    unpaid_usd,
    why_asked,
)
from promptmill.runs.display import format_seconds
from promptmill.runs.run import FinishedRun, PendingRun, Run
from tasks.prefect_internals.event_queue import send_queued_events
from tasks.run.markdown import escape_markdown

_SEND_SECONDS = 5.0  # at most, to send the events of this process
_ORDER_SECONDS = 2.0  # a busy server handles several events at once: it sees two in order only with a gap between them
log = logging.getLogger("promptmill")


class Approval(RunInput):
    """The form that the Prefect UI shows for a suspended run."""

    model_config = ConfigDict(json_schema_extra=shape_section)

    decision: Literal["approve", "reject"] = Field(description="approve: the run goes on. reject: nothing is sent.")
    budget_usd: float | None = Field(
        default=None,
        description="Approved, spend at most this for the output, over all its runs until somebody approves another. "
        "Empty: the job's own budget.",
    )


async def approve(run: Run) -> Run:
    """The run, after a person approved it if it costs more than its job allows, or more than an earlier approval has left.

    Raises: NotApproved for a no, and if nobody can be asked.
    """
    if run.prepared.job.approve_above_usd is None or isinstance(run, FinishedRun):
        return run
    batches = await asyncio.to_thread(in_batches, run.prepared.store)
    unpaid = await asyncio.to_thread(unpaid_usd, run, batches)
    left = await asyncio.to_thread(left_usd, run, batches)
    if not needs_approval(run, unpaid, left):
        return run
    run_id = _run_that_can_ask()
    if run_id is None:
        raise NotApproved(
            f"{why_asked(run, unpaid, left)} Run it with --approve to say yes here, or start it from a deployment to be asked "
            "in the Prefect UI."
        )
    crashes, ends = await _past_of(run_id)
    question = f"{run_id}/{ends}"
    if is_answered(run, question):
        return run
    answer = await _ask(run, _describe(run, unpaid, left), f"approval-{ends}-{crashes}")
    if answer.decision == "reject":
        raise NotApproved(f"the run, estimated at ${unpaid:,.4f}, was rejected. Nothing was sent.")
    budget = None if answer.budget_usd is None else Decimal(str(answer.budget_usd))
    approved = await asyncio.to_thread(keep_approval, run, budget, question)
    log.info("a person approved this run; the budget of its output is %s", _budget(approved))
    return approved


def _run_that_can_ask() -> UUID | None:
    """The flow run, if a deployment has it: Prefect can suspend no other."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.deployment_id is None:
        return None
    return context.flow_run.id


async def _past_of(run_id: UUID) -> tuple[int, int]:
    """How often a run crashed, and how often it ended otherwise. An answer holds after a crash, but not after another end."""
    async with get_client() as client:
        states = await client.read_flow_run_states(run_id)
    crashes = sum(state.is_crashed() for state in states)
    return crashes, sum(state.is_final() for state in states) - crashes


async def _ask(run: PendingRun, question: str, key: str) -> Approval:
    """The answer, if a person has given it; otherwise this suspends the run, and its process ends.

    Prefect keeps the form under the key. With a retry it forgets that it has the form, and then fails to keep it again: so
    there is a new key after every end. A retry from Prefect's new UI forgets nothing, and finds an answer that nobody gave;
    then we ask under the next number.
    """
    form = Approval.with_initial_data(description=question)
    seconds = math.ceil(run.prepared.job.approve_within_seconds)
    await _send_heartbeats()
    number = 1
    while True:
        with suppress(ValidationError):
            return await asuspend_flow_run(wait_for_input=form, timeout=seconds, key=f"{key}-{number}")
        number += 1


async def _send_heartbeats() -> None:
    """Send heartbeats before the suspension: after one that comes later, the server takes the run for dead (automations.py)."""
    await send_queued_events(_SEND_SECONDS)
    await asyncio.sleep(_ORDER_SECONDS)


def _describe(run: PendingRun, unpaid: Decimal, left: Decimal | None) -> str:
    """The question to a person, in Markdown."""
    estimate, job = run.preflight.estimate, run.prepared.job
    told = escape_markdown(describe_estimate(estimate))
    before = "" if left is None else f", of which ${left:,.4f} is left"
    return (
        f"**{escape_markdown(job.name)}** is estimated to cost **${unpaid:,.4f}** more ({run.mode}); it asks above "
        f"${job.approve_above_usd}.\n\n{estimate.rows:,} rows, {told}. Budget of this output: "
        f"{_budget(run)}{before}.\n\nApprove or reject it; the person who approves it may lower its budget. No answer within "
        f"{format_seconds(job.approve_within_seconds)} is a no."
    )


def _budget(run: PendingRun) -> str:
    """The budget of the output, and who set it."""
    if run.prepared.budget_usd is None:
        return "none"
    return f"${run.prepared.budget_usd}" + ("" if run.prepared.binding_approval is None else " (approved)")
