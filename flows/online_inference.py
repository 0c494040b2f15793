"""A model over every row of a dataset, by requests that the provider answers at once.

Requires: credentials (OPENAI_API_KEY or the job's provider block) and an output that it can write. A run that is
started again after a crash sends only what is missing.
"""

from typing import Any

from prefect import flow

from promptmill.job.spec import Job
from promptmill.runs.run import PendingRun
from tasks.prefect_internals.deployment_form import as_form
from tasks.run.answering import answering_visibly
from tasks.run.approval import approve
from tasks.run.chunks import answer_rows
from tasks.run.ending import ending
from tasks.run.one_at_a_time import take_turn
from tasks.run.output_turn import holding_output
from tasks.run.plan import plan_dataset
from tasks.run.publish import announce_end, publish_output
from tasks.run.unknown_parameters import explain_crash
from tasks.sharding.coordinator import answer_in_shards
from tasks.sharding.leftovers import end_strays


@as_form
@flow(name="online-inference", persist_result=False, validate_parameters=False, on_crashed=[explain_crash])
async def online_inference(
    job: Job | None = None,
    job_url: str | None = None,
    overrides: dict[str, Any] | None = None,
    retry_failed: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Answer every row of the dataset and publish the answers as Parquet.

    Args:
        job: The job itself: choose Job and fill it in, unless job_url names a job file.
        job_url: The URL of a job file, any fsspec URL, instead of the job itself.
        overrides: Values to replace in the job, by dotted name: {"limits.requests_per_minute": 500}.
        retry_failed: Ask again for the rows that failed, and for nothing else.
        overwrite: Replace the output of another job that stands there.
    """
    run = await plan_dataset(job, job_url, overrides, retry_failed, overwrite)
    run = await approve(run)
    async with ending(run):
        run = await take_turn(run)
        async with holding_output(run, end_strays) as held:
            run = held
            if isinstance(run, PendingRun):
                shards = await answer_in_shards(run)
                async with answering_visibly(run, shards) as engine:
                    await answer_rows(engine)
                run = await publish_output(run, engine)
        return await announce_end(run)
