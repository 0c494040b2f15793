"""The commands that run no flow: check, estimate, sample. They use Prefect for a provider block and a shared limit only."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from flows.command import console, tables
from flows.command.check_page import show_check
from flows.command.doing import Doing
from flows.command.options import RunOptions
from flows.command.without_server import ending_by_signals, until_its_end
from promptmill.checkpoints.output_turn import Asking, refuse_to_wait
from promptmill.dataset.dataset import Dataset
from promptmill.job.spec import Job, Limits
from promptmill.limits.approved_cap import write_approved
from promptmill.limits.leased_bucket import Lessor
from promptmill.planning.cached import cache_of
from promptmill.planning.estimate import cheaper_mode
from promptmill.planning.opened_job import Opened
from promptmill.planning.preflight import check_places
from promptmill.planning.prepared_job import SAMPLES, prepare_opened, today
from promptmill.provider.first_contact import Contact, contact_if_any, require_contact
from promptmill.provider.transport import Credentials
from promptmill.runs.run import FinishedRun, PendingRun, Planning, plan_pending_run
from promptmill.runs.sample import draw_rows, extrapolate, sample_job_of
from promptmill.standalone.answering import Alone
from promptmill.standalone.interruption import Interruption
from promptmill.standalone.running import sample_alone
from promptmill.storage import Storage


def credentials_of(job: Job) -> Credentials:
    """The credentials for the job's provider; for a block it asks a Prefect server, a temporary one if none is named."""
    if job.provider is None:
        return Credentials()
    console.prepare_prefect()
    from tasks.server.credentials import load_credentials
    from tasks.server.temporary_server import some_server

    with some_server():
        return asyncio.run(load_credentials(job.provider))


def plan_job(job: Job, doing: Doing | None = None, dataset: Dataset | None = None) -> PendingRun:
    """Plan a run even if its output is complete; `dataset` replaces its input."""
    credentials = credentials_of(job)
    if doing is None:
        return plan_pending_run(job, credentials, Planning(today(), overwrite=True, dataset=dataset))
    doing.step("planning", job.input.limit)
    return plan_pending_run(job, credentials, Planning(today(), overwrite=True, tell=doing.rows))


def _look_at_plan(job: Job, credentials: Credentials, doing: Doing, overwrite: bool) -> PendingRun:
    """Plan a run only to look at it, which needs no key."""
    doing.step("planning", job.input.limit)
    return plan_pending_run(job, credentials, Planning(today(), overwrite=overwrite, is_a_look=True, tell=doing.rows))


def look_before_flow(opened: Opened, options: RunOptions) -> None:
    """Find a job's mistakes before its flow run.

    With `approve` the job's own budget holds again, even if a person approved less before.
    Raises: PromptmillError; OutputInUse without `wait`, while another run works on the output.
    """
    prepared = prepare_opened(opened)
    credentials = credentials_of(prepared.job)
    check_places(prepared, credentials, options.overwrite)
    require_contact(credentials)
    if not options.wait:
        refuse_to_wait(prepared.store.storage)
    if options.approve:
        write_approved(prepared.store.storage, cap_usd=None)


def check_job(job: Job, doing: Doing, as_json: bool = False, *, is_full: bool = False) -> None:
    """Show the free facts about a job; `is_full` shows its first request exactly as sent."""
    run = _look_at_plan(job, credentials_of(job), doing, overwrite=False)
    doing.step("asking the provider")
    contact = contact_if_any(run.credentials)
    doing.close()
    show_check(run, contact, is_full, as_json)
    if as_json:
        console.print_json(check_values(run, contact))


def check_values(run: PendingRun, contact: Contact) -> dict[str, Any]:
    """The facts about a job, as JSON values."""
    prepared, plan = run.prepared, run.preflight.plan
    first = plan.first_request
    return {
        "rows": plan.rows,
        "shared": plan.shared,
        "files": len(prepared.dataset.files),
        "columns": list(prepared.dataset.schema.names),
        "output": prepared.output.shown,
        "provider": contact.found,
        "problem": None if contact.problem is None else str(contact.problem),
        "first_request": None if first is None else prepared.builder.preview(first),
        "first_input_tokens": None if first is None else first.input_tokens,
        "plans_all_rows_first": None if run.preflight.waits is None else run.preflight.waits.reason,
        "estimate": asdict(run.preflight.estimate),
        "notes": [*prepared.dataset.notes, *run.preflight.warnings],
    }


def estimate_job(job: Job, within_hours: float | None, as_json: bool, doing: Doing) -> None:
    """Show what a run would cost and how long it would take, online and by batch."""
    # the provider's address says whose answers in a cache count; nothing else needs its block
    credentials = Credentials() if cache_of(job) is None else credentials_of(job)
    run = _look_at_plan(job, credentials, doing, overwrite=True)
    doing.close()
    estimate = run.preflight.estimate
    cheapest = cheaper_mode(estimate, within_hours) if within_hours is not None else None
    assumed = run.prepared.prices.assumption_of("batch")
    warnings = (*run.preflight.warnings, *([assumed] if assumed is not None else []))
    tables.show_estimate(estimate, warnings, cheapest, as_json)
    if as_json:
        console.print_json({**asdict(estimate), "within_hours": within_hours, "road": cheapest})


def sample_job(
    job: Job, rows: int, as_json: bool, wait: bool, doing: Doing, *, seed: int = 0, is_first: bool = False
) -> None:
    """Run a few rows and show what the whole would cost. `wait`: wait for another run that works on the output.

    The rows are drawn from the whole dataset by `seed`, or the first ones if `is_first`.
    """
    interruption = Interruption()
    with ending_by_signals(interruption):
        whole = plan_job(job, doing)
        drawn = None if is_first else draw_rows(whole, rows, seed)
        part = plan_job(sample_job_of(whole.prepared.job, rows if drawn is None else None), dataset=drawn)
        doing.step("asking the provider")
        require_contact(part.credentials)
        doing.close()
        target = whole.prepared.output.folder(SAMPLES)
        how = Alone(Asking("promptmill sample", wait, tell=console.say), interruption)
        sampled = until_its_end(_sample(part, target, how), interruption)
    tables.show_sample(part, sampled.manifest, extrapolate(whole, sampled.manifest), as_json)
    if as_json:
        console.print_json(sampled.summary())


async def _sample(part: PendingRun, target: Storage, how: Alone) -> FinishedRun:
    async with _sharing(part.prepared.job.limits) as lessor:
        return await sample_alone(part, target, how, lessor)


@asynccontextmanager
async def _sharing(limits: Limits) -> AsyncGenerator[Lessor | None]:
    """The lessor of a shared limit, which needs Prefect; None without such a limit."""
    if limits.shared is None:
        yield None
        return
    console.prepare_prefect()
    from tasks.server.shared_limit import sharing
    from tasks.server.temporary_server import some_server

    with some_server():
        async with sharing(limits) as lessor:
            yield lessor
