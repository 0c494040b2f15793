"""Runs `promptmill run` as a flow run on a Prefect server."""

from typing import Any

from flows.command.large_jobs import parameters_of
from flows.command.options import RunOptions
from flows.online_inference import online_inference
from promptmill.job.spec import Job
from tasks.run.output_turn import may_wait


async def run_as_flow(job: Job, options: RunOptions) -> dict[str, Any]:
    """Run the flow of a mode to its end; returns the run's manifest."""
    may_wait.set(options.wait)
    again, over = options.retry_failed, options.overwrite
    with parameters_of(job) as (given, job_url):
        if options.mode == "batch":
            from flows.batch_inference import batch_inference  # brings openai's types, which take half a second

            return await batch_inference(job=given, job_url=job_url, retry_failed=again, overwrite=over, wait=True)
        return await online_inference(job=given, job_url=job_url, retry_failed=again, overwrite=over)
