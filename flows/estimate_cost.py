"""What a job would cost, before anything is paid for: rows, tokens, US dollars online and by batch, minutes."""

from typing import Any

from prefect import flow

from promptmill.job.spec import Job
from tasks.prefect_internals.deployment_form import as_form
from tasks.run.plan import plan_estimate
from tasks.run.publish import announce_estimate
from tasks.run.unknown_parameters import explain_crash


@as_form
@flow(name="estimate-cost", persist_result=False, validate_parameters=False, on_crashed=[explain_crash])
async def estimate_cost(
    job: Job | None = None, job_url: str | None = None, overrides: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Estimate a job and show the estimate as an artifact.

    Args:
        job: The job itself: choose Job and fill it in, unless job_url names a job file.
        job_url: The URL of a job file, any fsspec URL, instead of the job itself.
        overrides: Values to replace in the job, by dotted name: {"input.limit": 1000}.
    """
    return await announce_estimate(await plan_estimate(job, job_url, overrides))
