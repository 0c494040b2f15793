"""Decides how often advance-batches looks at the registry: every few minutes while a job has batches in flight, else hourly.

Its deployment has two schedules (prefect.yaml). A run that finds the registry empty switches the frequent one off. The
event of a submission starts a run at once, which finds the job and switches the schedule on again. Runs of the deployment
go one at a time, and a run that has switched the schedule off reads the registry once more. So it sees a job that somebody
registered meanwhile, or that job's event comes afterwards. If an event is lost, the hourly run finds the job.
A command with its own registry changes no schedule, because only workers know the registry of their jobs.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from prefect.client.orchestration import PrefectClient, get_client
from prefect.events import emit_event
from prefect.states import Completed

from promptmill.batch.registry import registered
from promptmill.errors import StorageFailed
from promptmill.job.spec import Job
from promptmill.public_url import public_url
from tasks.prefect_internals.sigterm_handler import is_started_by_worker
from tasks.server.outages import CALL_ERRORS

_SUBMITTED = "promptmill.job.submitted"
_DEPLOYMENT = "advance-batches/advance"
_SCHEDULE = "while-batches-are-in-flight"  # its slug
_SECONDS = 20.0  # at most, for all calls of one run
_SHOWN_JOBS = 3
log = logging.getLogger("promptmill")


def tell_of_submission(job: Job) -> None:
    """Emit the event that starts a look at the registry."""
    resource = {"prefect.resource.id": f"promptmill.job.{job.name}"}
    emit_event(_SUBMITTED, resource=resource, payload={"output_url": public_url(job.output.url)})


def names_of(jobs: Sequence[Job]) -> str:
    """The jobs of a look, as a name for its run."""
    if not jobs:
        return "nothing in flight"
    shown = ", ".join(job.name for job in jobs[:_SHOWN_JOBS])
    return shown if len(jobs) <= _SHOWN_JOBS else f"{shown} and {len(jobs) - _SHOWN_JOBS} more"


def end_of_look(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The result of each job. A deployed run without any job returns the state Skipped instead, which Prefect accepts."""
    if found or not is_started_by_worker():
        return found
    return cast(Any, Completed(name="Skipped", message="No job has batches in flight."))


@asynccontextmanager
async def setting_the_pace() -> AsyncGenerator[None]:
    """After the look, even a failed one, schedule the next look as soon as the registry needs it."""
    try:
        yield
    except Exception:
        await _set_the_pace()
        raise
    await _set_the_pace()


async def _set_the_pace() -> None:
    if not is_started_by_worker():
        return
    try:
        async with asyncio.timeout(_SECONDS), get_client() as client:
            await set_pace(client)
    except (*CALL_ERRORS, StorageFailed) as error:
        log.warning("the schedule of advance-batches stays as it is: %s", error)


async def set_pace(client: PrefectClient) -> None:
    """Switch the frequent schedule on if the registry has a job, else off. Raises: StorageFailed; any of CALL_ERRORS."""
    is_needed = await _is_needed()
    await _switch(client, is_active=is_needed)
    if not is_needed and await _is_needed():
        await _switch(client, is_active=True)


async def _is_needed() -> bool:
    return bool(await asyncio.to_thread(registered))


async def _switch(client: PrefectClient, *, is_active: bool) -> None:
    """Change the schedule only if needed, because a change deletes its scheduled runs (prefect 3.8.8)."""
    deployment = await client.read_deployment_by_name(_DEPLOYMENT)
    for schedule in deployment.schedules:
        if schedule.slug == _SCHEDULE and schedule.active is not is_active:
            await client.update_deployment_schedule(deployment.id, schedule.id, active=is_active)
