"""Small jobs, planned and carried out without Prefect."""

from collections.abc import Callable
from datetime import date
from typing import Any

from promptmill.job.spec import Job
from promptmill.output.manifest import Manifest
from promptmill.provider.transport import Credentials
from promptmill.runs.plain import run_plainly
from promptmill.runs.run import FinishedRun, PendingRun, Planning, Run, plan_run

SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string", "enum": ["good", "bad"]}, "score": {"type": "number"}},
    "required": ["label", "score"],
    "additionalProperties": False,
}
MakeJob = Callable[..., Job]


TODAY = date(2026, 11, 24)


def plan(job: Job, credentials: Credentials, **options: Any) -> PendingRun:
    """A planned run that has something to do."""
    run = plan_any(job, credentials, **options)
    assert isinstance(run, PendingRun)
    return run


def plan_any(job: Job, credentials: Credentials, **options: Any) -> Run:
    """A planned run, or the finished one whose output is complete."""
    return plan_run(job, credentials, Planning(TODAY, **options))


async def carry_out(job: Job, credentials: Credentials, **options: Any) -> Manifest:
    """The manifest of a run without Prefect, or of the output that is complete already."""
    run = plan_any(job, credentials, **options)
    return (run if isinstance(run, FinishedRun) else await run_plainly(run)).manifest
