"""Names and tags a run so that people find it in Prefect's lists: by job and rows, and by the tags of job and model.

A name that somebody gave a run stays. If the server doesn't take the name in time, the run goes on without it.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext

from promptmill.job.spec import Job
from tasks.prefect_internals.made_up_names import is_made_up
from tasks.prefect_internals.single_call import calling_once
from tasks.server.outages import CALL_ERRORS

_SECONDS = 5.0  # at most, for the call


async def name_after_job(job: Job, rows: int | None = None) -> None:
    """Name the flow run of this process after its job and, when they are counted, its rows."""
    await name_run(job.name, None if rows is None else f"{rows:,} rows", tags_of(job))


def tags_of(job: Job) -> list[str]:
    """The tags of a job's runs: its name, its model and its own tags."""
    return [job.name, job.request.model, *(f"{name}: {value}" for name, value in job.tags.items())]


async def name_run(stem: str, detail: str | None = None, tags: Iterable[str] = ()) -> None:
    """Name the flow run of this process, unless somebody else did, and add tags."""
    context = FlowRunContext.get()
    run = None if context is None else context.flow_run
    if run is None:
        return
    name, all_tags = next_name(run.name, stem, detail), list(dict.fromkeys((*run.tags, *tags)))
    if (name, all_tags) == (run.name, run.tags):
        return
    with suppress(*CALL_ERRORS), calling_once():
        async with asyncio.timeout(_SECONDS), get_client() as client:
            await client.update_flow_run(run.id, name=name, tags=all_tags)
        run.name, run.tags = name, all_tags  # this process's own description


def next_name(name: str, stem: str, detail: str | None = None) -> str:
    """The new name of a run; a name that a person gave stays."""
    is_ours = name == stem or name.startswith(f"{stem} · ")
    if not is_ours and not is_made_up(name):
        return name
    return stem if detail is None else f"{stem} · {detail}"
