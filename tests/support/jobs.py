"""Small jobs, planned and carried out without Prefect."""

from collections.abc import Callable
from datetime import date
from typing import Any

from promptmill.job.spec import Job
from promptmill.output.manifest import Manifest
from promptmill.provider.transport import Credentials
from promptmill.run.run import Run, plan_run, run_plainly

SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string", "enum": ["good", "bad"]}, "score": {"type": "number"}},
    "required": ["label", "score"],
    "additionalProperties": False,
}
MakeJob = Callable[..., Job]


def plan(job: Job, credentials: Credentials, **options: Any) -> Run:
    """A planned run."""
    return plan_run(job, credentials, today=date(2026, 11, 24), **options)


async def carry_out(job: Job, credentials: Credentials, **options: Any) -> Manifest:
    """The manifest of a run without Prefect, or of the output that is complete already."""
    run = plan(job, credentials, **options)
    return run.manifest or await run_plainly(run)
