"""Shards as Prefect runs: each a run of the deployment answer-shard, on whatever worker is free.

Each run has a process, a state, a log and a cancel button of its own. Created with a key for run, shard and attempt, none
is created twice; linked to the run that split, the server cancels them with it even if that run's process is gone.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling, Crashed

from promptmill.errors import SetupError
from promptmill.sharding.folder import ShardFolder
from promptmill.sharding.plan import Ended, ShardPlan

DEPLOYMENT = "answer-shard/any-worker"
REMEDY = "Start a server with everything deployed (make serve), or run it in one process: --set shards=1."
PAGE = 100  # runs in one call
PENDING_SECONDS = 300.0  # from a worker's taking a run to its beginning: an image may have to be pulled
ENDS: dict[StateType, Ended] = {
    StateType.COMPLETED: "completed",
    StateType.FAILED: "failed",
    StateType.CRASHED: "crashed",
    StateType.CANCELLED: "cancelled",
}
log = logging.getLogger("promptmill")


class ShardRuns:
    """The shards of one run, as runs of a deployment."""

    adopts = True  # what a run started before it crashed goes on when it does

    def __init__(self, client: PrefectClient, output_tag: str) -> None:
        self._client = client
        self._output_tag = output_tag
        self.waiting = 0
        self._runs: dict[int, UUID] = {}  # shard → its latest run
        self._pending: dict[UUID, float] = {}  # state → when it was first seen, of runs that are taken and not begun
        self.all_ids: list[str] = []  # of every run

    async def start(self, folder: ShardFolder, plan: ShardPlan, shard: int, attempt: int) -> None:
        """Create an attempt's run, or find it where an earlier process of this run has."""
        created = await arun_deployment(
            DEPLOYMENT,
            client=self._client,
            parameters={"plan_url": folder.plan_url, "shard": shard, "attempt": attempt},
            timeout=0,
            flow_run_name=f"{plan.job.name}: rows {plan.label(shard)}",
            tags=[self._output_tag],
            idempotency_key=f"{folder.name}-{shard}-{attempt}",
        )
        self._runs[shard] = created.id
        self.all_ids.append(str(created.id))

    async def ended(self) -> dict[int, Ended]:
        """The shards whose latest run has ended. A run that somebody deleted counts as crashed.

        One that a worker took and didn't begin for long is set to Crashed, to be found so by the next call.
        """
        found = {one.id: one for one in await self._read(list(self._runs.values()))}
        self.waiting = sum(one.state is not None and one.state.is_scheduled() for one in found.values())
        await self._give_up_unbegun(found.values())
        ends: dict[int, Ended] = {}
        for shard, identity in self._runs.items():
            one = found.get(identity)
            if one is None or (one.state is not None and one.state.type in ENDS):
                ends[shard] = ENDS[one.state.type] if one is not None and one.state is not None else "crashed"
        return ends

    async def _give_up_unbegun(self, runs: Iterable[FlowRun]) -> None:
        """A worker that dies between taking a run and starting it leaves it Pending for ever (prefect 3.8.8).

        By this process's own clock, since the state's time is the server's, and for as long as the state is the same.
        """
        now = asyncio.get_running_loop().time()
        pending = [(one, one.state.id) for one in runs if one.state is not None and one.state.is_pending()]
        self._pending = {state: self._pending.get(state, now) for _, state in pending}
        for one, state in pending:
            if now - self._pending[state] >= PENDING_SECONDS:
                message = f"A worker took it and didn't begin it within {PENDING_SECONDS:.0f} s."
                log.warning("%s: %s It is given up.", one.name, message)
                with suppress(ObjectNotFound):  # deleted in between
                    await self._client.set_flow_run_state(one.id, Crashed(message=message))

    async def cancel(self) -> None:
        """Cancel what hasn't ended."""
        await self._cancel([one for one in await self._read(list(self._runs.values())) if not _is_over(one)])

    async def _read(self, ids: Sequence[UUID]) -> list[FlowRun]:
        found: list[FlowRun] = []
        for start in range(0, len(ids), PAGE):
            chosen = FlowRunFilter(id=FlowRunFilterId(any_=list(ids[start : start + PAGE])))
            found.extend(await self._client.read_flow_runs(flow_run_filter=chosen, limit=PAGE))
        return found

    async def _cancel(self, runs: Sequence[FlowRun]) -> None:
        for one in runs:
            await self._client.set_flow_run_state(
                one.id, Cancelling(message="The run that it is a shard of was ended.")
            )


def _is_over(run: FlowRun) -> bool:
    return run.state is not None and run.state.type in ENDS


@asynccontextmanager
async def shard_runs(shards: int, output_tag: str) -> AsyncGenerator[ShardRuns]:
    """Who runs shards as deployments. Raises: SetupError when there is no server or no such deployment."""
    require_server(shards)
    async with get_client() as client:
        try:
            await client.read_deployment_by_name(DEPLOYMENT)
        except ObjectNotFound as error:
            raise SetupError(
                f"shards is {shards}, and the Prefect server has no deployment {DEPLOYMENT!r}. Run `prefect --no-prompt "
                f"deploy --all`. {REMEDY}"
            ) from error
        yield ShardRuns(client, output_tag)


def require_server(shards: int) -> None:
    """Raises: SetupError when shards have nobody to run them; known at once, where a plan may take minutes."""
    if not PREFECT_API_URL.value():
        raise SetupError(
            f"shards is {shards}, which takes a Prefect server with workers; PREFECT_API_URL isn't set. {REMEDY}"
        )
