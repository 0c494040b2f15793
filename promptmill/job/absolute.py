"""Makes the paths of a job absolute, so that they mean the same in every folder."""

import os

from promptmill.job.spec import Job


def absolute_job(job: Job) -> Job:
    """The job with absolute paths, for processes that start in another folder."""
    schema = job.request.response_schema
    if isinstance(schema, str) and os.path.exists(schema):
        schema = os.path.abspath(schema)
    return job.model_copy(
        update={
            "input": job.input.with_urls([_absolute(url) for url in job.input.urls]),
            "output": job.output.model_copy(update={"url": _absolute(job.output.url)}),
            "request": job.request.model_copy(update={"response_schema": schema}),
        }
    )


def _absolute(url: str) -> str:
    return url if "://" in url or "::" in url else os.path.abspath(url)
