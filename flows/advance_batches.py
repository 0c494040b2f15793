"""One step for every job with batches in flight: look at them, collect, submit more, publish.

Requires: the registry that batch-inference writes to (PROMPTMILL_STATE_URL) and each job's credentials. Let schedules and
the event of a submission start it, one run at a time (tasks/batch/looking.py).
"""

from typing import Any, Literal

from prefect import flow

from tasks.batch.looking import end_of_look, setting_the_pace
from tasks.batch.steps import advance_job, cancel_job, describe_job, each_job
from tasks.run.unknown_parameters import explain_crash
from tasks.server.deployable import deployable

ACTIONS = {"advance": advance_job, "cancel": cancel_job, "status": describe_job}


@deployable
@flow(name="advance-batches", persist_result=False, on_crashed=[explain_crash])
async def advance_batches(
    action: Literal["advance", "status", "cancel"] = "advance", job_name: str | None = None
) -> list[dict[str, Any]]:
    """Move batches in flight on one step.

    Args:
        action: advance looks at, collects and submits; status only tells; cancel ends the batches at the provider.
        job_name: Only the jobs of this name. Default: all.
    """
    async with setting_the_pace():
        found = await each_job(ACTIONS[action], job_name)
    return end_of_look(found)
