"""A job given as a form, a file or both → a planned run."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from promptmill.errors import JobError
from promptmill.job.file import load_job, parse_job
from promptmill.job.spec import Job
from promptmill.memory import spare_memory
from promptmill.planning.estimate import describe_estimate
from promptmill.planning.prepared_job import open_output, resolve_output
from promptmill.run.run import Run, plan_run
from tasks.run.logs import quiet_expected_errors
from tasks.run.one_at_a_time import queue_up
from tasks.server.credentials import load_credentials


def resolve_job(
    job: Job | Mapping[str, Any] | None, job_url: str | None, overrides: Mapping[str, object] | None
) -> Job:
    """The job of a run: given as an object or as a file's URL, with some values replaced. Raises: JobError."""
    if (job is None) == (job_url is None):
        raise JobError(
            "a run takes either `job` (the job itself) or `job_url` (the URL of a job file). Give one of them."
        )
    if job_url is not None:
        return load_job(job_url, overrides)
    if isinstance(job, Job) and not overrides:
        return job
    return parse_job(job.model_dump(mode="json") if isinstance(job, Job) else job, overrides)


@task(name="plan-dataset", task_run_name="plan", cache_policy=NO_CACHE, persist_result=False)
async def plan_dataset(
    job: Job | Mapping[str, Any] | None,  # a deployed run has its values; what is wrong with them is said by us
    job_url: str | None = None,
    overrides: dict[str, Any] | None = None,
    retry_failed: bool = False,
    overwrite: bool = False,
    even_if_finished: bool = False,
    mode: Literal["online", "batch"] = "online",
) -> Run:
    """Everything that can be known for free: chunks, identities, estimate. Raises: SetupError (and its kin)."""
    spare_memory()
    quiet_expected_errors()
    whole = await asyncio.to_thread(resolve_job, job, job_url, overrides)
    credentials = await load_credentials(whole.provider)
    scheduled = flow_run.get_scheduled_start_time() or datetime.now(UTC)
    if not even_if_finished:  # an estimate leaves the output as it is
        await queue_up(open_output(resolve_output(whole, scheduled.date()).output.url))
    run = await asyncio.to_thread(
        plan_run,
        whole,
        credentials,
        today=scheduled.date(),
        retry_failed=retry_failed,
        overwrite=overwrite,
        flow_run_ids=(str(flow_run.get_id()),),
        even_if_finished=even_if_finished,
    )
    run.mode = mode
    _log_plan(run)
    return run


def _log_plan(run: Run) -> None:
    logger = get_run_logger()
    if run.preflight is None:
        logger.info("The output at %s is complete: nothing is to be sent.", run.prepared.output.shown)
        return
    plan = run.preflight.plan
    logger.info("%d rows in %d chunks; %s", plan.rows, len(plan.chunks), describe_estimate(run.preflight.estimate))
    for warning in run.preflight.warnings:
        logger.warning(warning)
