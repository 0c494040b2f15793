"""A model over every row of a dataset, by the OpenAI Batch API: half the price, within a day.

Requires: credentials and an output as online-inference does, and advance-batches on a schedule unless `wait` is on.
A run that is started again after a crash takes up the batches in flight and submits only the rows that are in none.
"""

from typing import Any

from prefect import flow

from promptmill.batch.status import describe
from promptmill.job.basics import basics
from promptmill.job.spec import Job
from promptmill.runs.run import PendingRun
from tasks.batch.steps import finish_batches, hand_over, submit_batches, wait_for_batches
from tasks.run.approval import approve
from tasks.run.ending import ending
from tasks.run.one_at_a_time import take_turn
from tasks.run.output_turn import holding_output
from tasks.run.plan import plan_dataset
from tasks.run.publish import announce_end
from tasks.run.unknown_parameters import explain_crash
from tasks.server.deployable import deployable
from tasks.sharding.leftovers import end_strays


@deployable
@flow(name="batch-inference", persist_result=False, validate_parameters=False, on_crashed=[explain_crash])
async def batch_inference(
    job: Job | None = None,
    job_url: str | None = None,
    overrides: dict[str, Any] | None = None,
    retry_failed: bool = False,
    overwrite: bool = False,
    wait: bool = False,
    name: str | None = None,
    input_url: str | None = None,
    model: str | None = None,
    prompt: str | None = None,
    output_url: str | None = None,
    budget_usd: float | None = None,
    provider: str | None = None,
) -> dict[str, Any]:
    """Submit every row of the dataset in batches; advance-batches collects and publishes the answers.

    Args:
        job: The whole job, every key of it: choose Job and fill it in, if the fields above don't say enough.
        job_url: The URL of a job file, any fsspec URL; the fields above replace its values.
        overrides: Values to replace in the job, by dotted name: {"batch.enqueued_tokens": 2000000}.
        retry_failed: Ask again for the rows that failed, and for nothing else.
        overwrite: Replace the output of another job that stands there.
        wait: Stay until the answers are published, instead of leaving them to advance-batches.
        name: The job's name: lower case, digits and dashes.
        input_url: Where the rows are: a file, a folder or a pattern, any fsspec URL.
        model: The model that is asked.
        prompt: What it is asked for each row; a column's value as in {{ text }}.
        output_url: The folder for the answers, any fsspec URL.
        budget_usd: The most that all runs of this output may cost, in US dollars.
        provider: The name of a credentials block. Empty: OPENAI_API_KEY and OPENAI_BASE_URL of the worker.
    """
    given = basics(
        name=name,
        input_url=input_url,
        model=model,
        prompt=prompt,
        output_url=output_url,
        budget_usd=budget_usd,
        provider=provider,
    )
    run = await plan_dataset(job, job_url, overrides, retry_failed, overwrite, "batch", given)
    run = await approve(run)
    async with ending(run):
        run = await take_turn(run)
        async with holding_output(run, end_strays) as held:
            run = held
            if isinstance(run, PendingRun):
                await end_strays(run)
                batches = await submit_batches(run)
                if not wait:
                    await hand_over(run)
                    return describe(batches)
                await wait_for_batches(batches, run)
                run = await finish_batches(batches, run)
        return await announce_end(run)
