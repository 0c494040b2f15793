"""The commands that run no flow: check, estimate, sample. They use Prefect for a provider block and a shared limit only."""

import asyncio
from dataclasses import asdict, replace
from typing import Any

from flows.command import console, tables
from promptmill.checkpoints.output_turn import Asking, refuse_to_wait, releasing, take_turn_at
from promptmill.job.spec import Job
from promptmill.limits.approved_cap import write_approved
from promptmill.output.manifest import manifest_values
from promptmill.planning.estimate import cheaper_mode
from promptmill.planning.kept import retry_scope
from promptmill.planning.preflight import check_places
from promptmill.planning.prepared_job import SAMPLES, prepare, today
from promptmill.planning.standing_output import finished_manifest
from promptmill.provider.first_contact import first_contact, require_contact
from promptmill.provider.transport import Credentials
from promptmill.runs.run import FinishedRun, PendingRun, Planning, plan_pending_run, run_plainly
from promptmill.runs.sample import extrapolate, sample_job_of
from promptmill.storage import Storage


def credentials_of(job: Job) -> Credentials:
    """How to reach the job's provider."""
    if job.provider is None:
        return Credentials()
    console.prepare_prefect()
    from tasks.server.credentials import load_credentials

    return asyncio.run(load_credentials(job.provider))


def plan_job(job: Job, overwrite: bool = True) -> PendingRun:
    """The run of a job, planned even if its output is complete."""
    return plan_pending_run(job, credentials_of(job), Planning(today(), overwrite=overwrite))


def finished_run(
    job: Job, retry_failed: bool, overwrite: bool, approve: bool = False, wait: bool = True
) -> dict[str, Any] | None:
    """The manifest if the output is complete already, None otherwise. Finds what is wrong with the job before Prefect starts.

    `approve`: if the output isn't complete, the job's own budget holds again, even if a person approved less before.
    Raises: PromptmillError; OutputInUse without `wait`, while another run works on the output.
    """
    prepared = prepare(job, today())
    if (manifest := finished_manifest(prepared, retry_scope(job, retry_failed))) is not None:
        return manifest_values(manifest)
    credentials = credentials_of(job)
    check_places(prepared, credentials, overwrite)
    require_contact(credentials)
    if not wait:
        refuse_to_wait(prepared.store.storage)
    if approve:
        write_approved(prepared.store.storage, cap_usd=None)
    return None


def check_job(job: Job) -> None:
    """Show what is known of a job for free."""
    run = plan_job(job, overwrite=False)
    tables.show_check(run, first_contact(run.credentials))


def estimate_job(job: Job, within_hours: float | None, as_json: bool) -> None:
    """Show what a run would take, online and by batch."""
    run = plan_job(job)
    estimate = run.preflight.estimate
    cheapest = cheaper_mode(estimate, within_hours) if within_hours is not None else None
    assumed = run.prepared.prices.assumption_of("batch")
    warnings = (*run.preflight.warnings, *([assumed] if assumed is not None else []))
    tables.show_estimate(estimate, warnings, cheapest, as_json)
    if as_json:
        console.print_json({**asdict(estimate), "within_hours": within_hours, "road": cheapest})


async def _answer_sample(part: PendingRun, target: Storage, wait: bool) -> FinishedRun:
    """The sample's answers, once no run works on the same output: it would pay for the same rows."""
    from promptmill.batch.session import refuse_rows_in_batches

    store = part.prepared.store
    turn = await take_turn_at(store.storage, Asking("promptmill sample", wait, tell=console.say))
    async with releasing(turn) as lease:
        await asyncio.to_thread(refuse_rows_in_batches, store, part.prepared.output.url)
        return await _answer_plainly(replace(part, lease=lease), target)


async def _answer_plainly(part: PendingRun, target: Storage) -> FinishedRun:
    """The sample's answers; a shared limit has to be leased, as runs do, and that takes Prefect."""
    if part.prepared.job.limits.shared is None:
        return await run_plainly(part, target)
    console.prepare_prefect()
    from tasks.server.shared_limit import sharing

    async with sharing(part.prepared.job.limits) as lessor:
        return await run_plainly(part, target, lessor)


def sample_job(job: Job, rows: int, as_json: bool, wait: bool) -> None:
    """Run the first rows and show what the whole would cost. `wait`: wait for another run that works on the output."""
    whole = plan_job(job)
    part = plan_job(sample_job_of(whole.prepared.job, rows))
    require_contact(part.credentials)
    sampled = asyncio.run(_answer_sample(part, whole.prepared.output.folder(SAMPLES), wait))
    tables.show_sample(part, sampled.manifest, extrapolate(whole, sampled.manifest), as_json)
    if as_json:
        console.print_json(sampled.summary())
