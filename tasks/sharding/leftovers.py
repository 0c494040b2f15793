"""Shards that an earlier run over an output left at work: this run ends them before it answers the same rows itself.

A run that dies leaves its shards at work, and its next attempt goes on with them. Any other run over the output, in shards
or not, would pay for their rows a second time.
"""

import asyncio
import logging
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling

from promptmill.errors import RunStopped
from promptmill.runs.run import Run
from promptmill.sharding.leftovers import end_pulsed, end_strays_alone, left_folders
from tasks.run.one_at_a_time import output_digest
from tasks.sharding.flow_runs import END_OF_STATE

_RUN_SECONDS = 120.0  # for shards that are Prefect runs to end
log = logging.getLogger("promptmill")


def shards_tag(run: Run) -> str:
    """The tag of all shards' runs over the output of a run."""
    return f"promptmill-shards-of-{output_digest(run.prepared.output)}"


async def end_strays(run: Run, kept: str | None = None) -> None:
    """End the shards that earlier runs left at work, and remove their folders, but for the plan at the URL `kept`.

    Raises: RunStopped if they don't end; SetupError if they may be on a Prefect server that isn't set here.
    """
    if not PREFECT_API_URL.value():
        await end_strays_alone(run.prepared.store, run.prepared.output, kept)
        return
    left = await left_folders(run.prepared.store, kept)
    await end_pulsed(left)
    async with get_client() as client:
        await _end_runs(client, shards_tag(run), kept)
    for folder in left:
        await asyncio.to_thread(folder.remove)


async def _end_runs(client: PrefectClient, output_tag: str, kept: str | None) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + _RUN_SECONDS
    cancelled: set[UUID] = set()
    while strays := [run for run in await _live(client, output_tag) if run.parameters.get("plan_url") != kept]:
        if loop.time() > until:
            raise RunStopped(
                f"{len(strays)} shards of an earlier run over this output are still at work after {_RUN_SECONDS:.0f} s, "
                f"{strays[0].name!r} among them; two runs would pay for the same rows. Cancel them in the Prefect UI and "
                "run the job again."
            )
        for stray in strays:
            if stray.id not in cancelled:
                log.info("%s is a shard of an earlier run over this output: we cancel it", stray.name)
                state = Cancelling(message="Another run over the same output has begun.")
                await client.set_flow_run_state(stray.id, state)
                cancelled.add(stray.id)
        await asyncio.sleep(1.0)


async def _live(client: PrefectClient, output_tag: str) -> list[FlowRun]:
    chosen = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[output_tag]),
        state=FlowRunFilterState(
            type=FlowRunFilterStateType(any_=[kind for kind in StateType if kind not in END_OF_STATE])
        ),
    )
    return await client.read_flow_runs(flow_run_filter=chosen)
