"""Ends the shards that an earlier run over an output left at work, before this run answers the same rows itself.

A run that dies leaves its shards at work, and its next attempt goes on with them. Any other run over the output, in shards
or not, would pay for their rows a second time.

Prefect calls a shard Running until somebody says otherwise; if its worker died with it, nobody does. Its lease on the
storage (checkpoints/shard_lease.py) is more reliable: a shard without a lease can't send, since this run holds the output
now, and a shard that begins later finds that out before it sends.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, Cancelling, Crashed

from promptmill.checkpoints.output_turn import Asking
from promptmill.checkpoints.shard_lease import Stragglers
from promptmill.errors import RunStopped
from promptmill.runs.run import PendingRun, Run
from promptmill.sharding.folder import folder_name, lease_name, run_id_of
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

    Call it once the run holds the output.

    Raises: RunStopped if they don't end; SetupError if they may be on a Prefect server that isn't set here.
    """
    store = run.prepared.store
    if not PREFECT_API_URL.value():
        await end_strays_alone(store, run.prepared.output, kept)
        return
    left = await left_folders(store, kept)
    await end_pulsed(left)
    own_id = run.flow_run_ids[0] if isinstance(run, PendingRun) and run.flow_run_ids else ""
    stragglers = Stragglers(store.storage, Asking("a run that follows", run_id=own_id).holder())
    async with get_client() as client:
        await Strays(client, shards_tag(run), stragglers, own_id).end(kept)
    for folder in left:
        await asyncio.to_thread(folder.remove)


class Strays:
    """Runs of shards that earlier runs over an output left on a Prefect server."""

    def __init__(self, client: PrefectClient, output_tag: str, stragglers: Stragglers, own_id: str) -> None:
        self._client, self._output_tag = client, output_tag
        self._stragglers, self._own_id = stragglers, own_id

    async def end(self, kept: str | None) -> None:
        """End all shards except those of the plan at the URL `kept`, and wait until none of them sends.

        Raises: RunStopped if they don't end.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + _RUN_SECONDS
        while at_work := await self._step(kept):
            if loop.time() > until:
                raise RunStopped(
                    f"{len(at_work)} shards of an earlier run over this output are still at work after "
                    f"{_RUN_SECONDS:.0f} s, {at_work[0].name!r} among them; two runs would pay for the same rows. Cancel "
                    "them in the Prefect UI and run the job again."
                )
            await asyncio.sleep(1.0)

    async def _step(self, kept: str | None) -> list[FlowRun]:
        """Tell every run to end; returns the runs that may still send."""
        strays = [run for run in await self._live() if run.parameters.get("plan_url") != kept]
        living = {str(one.holder and one.holder.what) for one in await asyncio.to_thread(self._stragglers.all)}
        at_work: list[FlowRun] = []
        for stray in strays:
            assert stray.state is not None  # noqa: S101 - the server chose it by its state
            is_at_work = may_send(stray.parameters, living, self._own_id)
            if (state := state_to_set(stray.state.type, is_at_work)) is not None:
                log.info("%s is a shard of an earlier run over this output: we set it to %s", stray.name, state.name)
                with suppress(ObjectNotFound):  # somebody deleted it meanwhile
                    await self._client.set_flow_run_state(stray.id, state)
            if is_at_work:
                at_work.append(stray)
        return at_work

    async def _live(self) -> list[FlowRun]:
        chosen = FlowRunFilter(
            tags=FlowRunFilterTags(all_=[self._output_tag]),
            state=FlowRunFilterState(
                type=FlowRunFilterStateType(any_=[kind for kind in StateType if kind not in END_OF_STATE])
            ),
        )
        return await self._client.read_flow_runs(flow_run_filter=chosen)


def may_send(parameters: Mapping[str, Any], living: Collection[str], own_id: str) -> bool:
    """Whether the shard of a run with these parameters may still send, by the leases of living shards. Pure.

    A shard of this flow run may: its run holds the output, and the shard may take its lease only now.
    """
    folder, shard = folder_name(str(parameters.get("plan_url"))), parameters.get("shard")
    if folder is None or not isinstance(shard, int):
        return True  # its parameters don't tell us its lease
    run_id = run_id_of(folder)
    return run_id == own_id != "" or lease_name(run_id, shard) in living


def state_to_set(kind: StateType, is_at_work: bool) -> State[Any] | None:
    """The new state for a leftover shard on the server; None: leave it. Pure."""
    if is_at_work:
        return (
            None if kind == StateType.CANCELLING else Cancelling(message="Another run over the same output has begun.")
        )
    if kind == StateType.RUNNING:
        return Crashed(message="Its lease on the output has lapsed: its process is gone.")
    return Cancelled(message="Another run over the same output has begun, and this shard wasn't at work.")
