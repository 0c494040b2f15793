"""A model over every row of a dataset, by requests that the provider answers at once.

Requires: credentials (OPENAI_API_KEY or the job's provider block) and an output that it can write. A run that is
started again after a crash sends only what is missing.
"""

from typing import Any

from prefect import flow

from promptmill.job.basics import basics
from promptmill.job.spec import Job
from promptmill.runs.run import PendingRun
from tasks.batch.in_time import answer_in_time, done_by_others, end_in_time
from tasks.run.answering import answering_visibly
from tasks.run.approval import approve
from tasks.run.chunks import answer_rows
from tasks.run.ending import ending
from tasks.run.one_at_a_time import take_turn
from tasks.run.output_turn import holding_output
from tasks.run.plan import plan_dataset
from tasks.run.publish import announce_end, publish_output
from tasks.run.unknown_parameters import explain_crash
from tasks.server.deployable import deployable
from tasks.sharding.coordinator import answer_in_shards
from tasks.sharding.leftovers import end_strays


@deployable
@flow(name="online-inference", persist_result=False, validate_parameters=False, on_crashed=[explain_crash])
async def online_inference(
    job: Job | None = None,
    job_url: str | None = None,
    overrides: dict[str, Any] | None = None,
    retry_failed: bool = False,
    overwrite: bool = False,
    name: str | None = None,
    input_url: str | None = None,
    model: str | None = None,
    prompt: str | None = None,
    output_url: str | None = None,
    budget_usd: float | None = None,
    deadline: str | None = None,
    provider: str | None = None,
) -> dict[str, Any]:
    """Answer every row of the dataset and publish the answers as Parquet.

    Args:
        job: The whole job, every key of it: choose Job and fill it in, if the fields above don't say enough.
        job_url: The URL of a job file, any fsspec URL; the fields above replace its values.
        overrides: Values to replace in the job, by dotted name: {"limits.requests_per_minute": 500}.
        retry_failed: Ask again for the rows that failed, and for nothing else.
        overwrite: Replace the output of another job that stands there.
        name: The job's name: lower case, digits and dashes.
        input_url: Where the rows are: a file, a folder or a pattern, any fsspec URL.
        model: The model that is asked.
        prompt: What it is asked for each row; a column's value as in {{ text }}.
        output_url: The folder for the answers, any fsspec URL.
        budget_usd: The most that all runs of this output may cost, in US dollars.
        deadline: When it shall be done, as 6h from its start: by batches at their price as far as they answer in time.
        provider: The name of a credentials block. Empty: OPENAI_API_KEY and OPENAI_BASE_URL of the worker.
    """
    given = basics(
        name=name,
        input_url=input_url,
        model=model,
        prompt=prompt,
        output_url=output_url,
        budget_usd=budget_usd,
        deadline=deadline,
        provider=provider,
    )
    run = await plan_dataset(job, job_url, overrides, retry_failed, overwrite, basics=given)
    run = await approve(run)
    async with ending(run):
        run = await take_turn(run)
        async with holding_output(run, end_strays) as held:
            run = held
            if isinstance(run, PendingRun):
                shards = await answer_in_shards(run)
                batches = await answer_in_time(run)
                async with answering_visibly(run, done_by_others(batches, shards)) as engine:
                    await answer_rows(engine)
                pending, run = run, await publish_output(run, engine)
                await end_in_time(batches, pending, engine)
        return await announce_end(run)
