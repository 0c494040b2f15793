"""Plans a run from a job that comes as a form, a file, its basics or several of them."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Any, Literal

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from promptmill.errors import JobError
from promptmill.job.basics import KEYS, with_basics
from promptmill.job.deadline import refuse_by_batches_alone
from promptmill.job.file import load_job, parse_job
from promptmill.job.spec import Job
from promptmill.memory import spare_memory
from promptmill.planning.cached import cache_of
from promptmill.planning.estimate import describe_plan
from promptmill.planning.prepared_job import open_output, resolve_output
from promptmill.provider.transport import Credentials
from promptmill.runs.run import FinishedRun, PendingRun, Planning, Run, plan_pending_run, plan_run
from promptmill.runs.steps import showing_step
from tasks.run.contact import require_provider
from tasks.run.deployed import close_if_deployed
from tasks.run.logs import quiet_expected_errors
from tasks.run.one_at_a_time import queue_up
from tasks.run.run_name import name_after_job
from tasks.server.credentials import load_credentials

_NOTHING = MappingProxyType[str, object]({})


def resolve_job(
    job: Job | Mapping[str, Any] | None,
    job_url: str | None,
    overrides: Mapping[str, object] | None,
    basics: Mapping[str, object] = _NOTHING,
) -> Job:
    """The job of a run: from an object, a file's URL or its basics, with some values replaced. Raises: JobError."""
    if (job is None) == (job_url is None) and not (job is None and basics):
        raise JobError(
            "a run takes either `job` (the job itself) or `job_url` (the URL of a job file), or the job's basics: "
            f"{', '.join(KEYS)}. Give one of them."
        )
    changes = with_basics(overrides, basics)
    if job_url is not None:
        return load_job(job_url, changes)
    if isinstance(job, Job) and not changes:
        return job
    return parse_job(job.model_dump(mode="json") if isinstance(job, Job) else job or {}, changes)


@task(name="plan-dataset", task_run_name="plan", cache_policy=NO_CACHE, persist_result=False)
async def plan_dataset(
    job: Job | Mapping[str, Any] | None,  # a deployed run passes its values; our own checks say what is wrong with them
    job_url: str | None = None,
    overrides: dict[str, Any] | None = None,
    retry_failed: bool = False,
    overwrite: bool = False,
    mode: Literal["online", "batch"] = "online",
    basics: Mapping[str, object] = _NOTHING,
) -> Run:
    """Plan a run without paying: chunks, identities, estimate. Raises: SetupError or a subclass."""
    whole = await _prepare(job, job_url, overrides, basics)
    refuse_by_batches_alone(whole.deadline, mode)
    credentials = await load_credentials(whole.provider)
    today = _scheduled_day()
    await queue_up(open_output(resolve_output(whole, today).output.url))
    flow_run_ids = (str(flow_run.get_id()),)
    planning = Planning(
        today,
        retry_failed=retry_failed,
        overwrite=overwrite,
        flow_run_ids=flow_run_ids,
        mode=mode,
        say=get_run_logger().info,
    )
    with showing_step("planning") as tell:
        run = await asyncio.to_thread(plan_run, whole, credentials, replace(planning, tell=tell))
    await name_after_job(whole, run.manifest.rows if isinstance(run, FinishedRun) else run.preflight.plan.expected_rows)
    if isinstance(run, FinishedRun):
        get_run_logger().info("The output at %s is complete: nothing is to be sent.", run.prepared.output.shown)
    else:
        await require_provider(run)
        _log_plan(run)
    return run


@task(name="plan-dataset", task_run_name="plan", cache_policy=NO_CACHE, persist_result=False)
async def plan_estimate(
    job: Job | Mapping[str, Any] | None,
    job_url: str | None = None,
    overrides: dict[str, Any] | None = None,
    basics: Mapping[str, object] = _NOTHING,
) -> PendingRun:
    """A plan to look at, as if there were no output yet. Raises: SetupError or a subclass."""
    whole = await _prepare(job, job_url, overrides, basics)
    planning = Planning(_scheduled_day(), overwrite=True, flow_run_ids=(str(flow_run.get_id()),), is_a_look=True)
    is_cached = cache_of(whole) is not None  # the provider's address says whose answers in a cache count
    credentials = await load_credentials(whole.provider) if is_cached else Credentials()
    with showing_step("planning") as tell:
        run = await asyncio.to_thread(plan_pending_run, whole, credentials, replace(planning, tell=tell))
    await name_after_job(whole, run.preflight.plan.rows)
    _log_plan(run)
    return run


async def _prepare(
    job: Job | Mapping[str, Any] | None,
    job_url: str | None,
    overrides: dict[str, Any] | None,
    basics: Mapping[str, object],
) -> Job:
    spare_memory()
    quiet_expected_errors()
    close_if_deployed()
    whole = await asyncio.to_thread(resolve_job, job, job_url, overrides, basics)
    await name_after_job(whole)  # to plan a large input takes minutes
    return whole


def _scheduled_day() -> date:
    return (flow_run.get_scheduled_start_time() or datetime.now(UTC)).date()


def _log_plan(run: PendingRun) -> None:
    logger, found = get_run_logger(), run.preflight
    logger.info("%s", describe_plan(found.plan, found.estimate))
    for warning in found.notes(run.prepared.job):
        logger.warning(warning)
