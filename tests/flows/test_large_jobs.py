"""A job that is larger than Prefect takes as a parameter reaches its flow as it is."""

from pathlib import Path

import pytest

from flows.command.large_jobs import parameters_of
from promptmill.job.spec import Job
from tasks.run.plan import resolve_job
from tests.support.jobs import MakeJob


def with_examples(job: Job, characters: int) -> Job:
    """The job with so much of few-shot text."""
    messages = [{"role": "user", "content": "é" * characters}, {"role": "user", "content": "{{ text }}"}]
    request = {
        **job.request.model_dump(mode="json"),
        "user": None,
        "system": None,
        "messages": messages,
        "response_schema": None,
    }
    return Job.model_validate({**job.model_dump(mode="json"), "request": request})


@pytest.mark.parametrize(
    ("characters", "is_given_itself"), [pytest.param(60_000, True, id="small"), pytest.param(70_000, False, id="large")]
)
def test_a_job_reaches_its_flow_whatever_its_size(characters: int, is_given_itself: bool, make_job: MakeJob) -> None:
    job = with_examples(make_job(3), characters)
    with parameters_of(job) as (given, job_url):
        found = resolve_job(given, job_url, None)

    assert found == job
    assert (given is job, job_url is None) == (is_given_itself, is_given_itself)
    assert job_url is None or not Path(job_url).exists()
