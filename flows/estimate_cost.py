"""What a job would cost, before anything is paid for: rows, tokens, US dollars online and by batch, minutes."""

from typing import Any

from prefect import flow

from promptmill.job.basics import basics
from promptmill.job.spec import Job
from tasks.run.plan import plan_estimate
from tasks.run.publish import announce_estimate
from tasks.run.unknown_parameters import explain_crash
from tasks.server.deployable import deployable


@deployable
@flow(name="estimate-cost", persist_result=False, validate_parameters=False, on_crashed=[explain_crash])
async def estimate_cost(
    job: Job | None = None,
    job_url: str | None = None,
    overrides: dict[str, Any] | None = None,
    name: str | None = None,
    input_url: str | None = None,
    model: str | None = None,
    prompt: str | None = None,
    output_url: str | None = None,
    budget_usd: float | None = None,
    provider: str | None = None,
) -> dict[str, Any]:
    """Estimate a job and show the estimate as an artifact.

    Args:
        job: The whole job, every key of it: choose Job and fill it in, if the fields above don't say enough.
        job_url: The URL of a job file, any fsspec URL; the fields above replace its values.
        overrides: Values to replace in the job, by dotted name: {"input.limit": 1000}.
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
    return await announce_estimate(await plan_estimate(job, job_url, overrides, given))
