"""Runs shards as Prefect runs: each is a run of the deployment answer-shard, and any free worker takes it.

Each such run has a process, a state, a log and a cancel button of its own. Its idempotency key names run, shard and attempt,
so that the server creates none twice. It is a child of the run that split, so that the server cancels it with that run even
if the process of that run is gone.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling, Crashed

from promptmill.errors import SetupError
from promptmill.sharding.folder import ShardFolder
from promptmill.sharding.plan import Ended, ShardPlan
from tasks.run.run_name import tags_of

_DEPLOYMENT = "answer-shard/shard"
_OLD_DEPLOYMENT = "answer-shard/any-worker"  # tag of the previous version, which may be the deployed one
_REMEDY = "Start a server with everything deployed (make serve), or run it in one process: --set shards=1."
_PAGE = 100  # runs in one call
PENDING_SECONDS = 300.0  # between taking a run and beginning it, a worker may have to pull an image
END_OF_STATE: dict[StateType, Ended] = {
    StateType.COMPLETED: "completed",
    StateType.FAILED: "failed",
    StateType.CRASHED: "crashed",
    StateType.CANCELLED: "cancelled",
}
log = logging.getLogger("promptmill")


@dataclass(slots=True)
class ShardRun:
    """The latest run of one shard."""

    run_id: UUID
    pending_state: UUID | None = None  # the state in which a worker took it and hasn't begun it
    pending_since: float = 0.0  # when we first saw it in that state, in seconds of the event loop

    def pending_seconds(self, run: FlowRun, now: float) -> float:
        """Seconds since a worker took the run without beginning it; 0 in any other state."""
        if run.state is None or not run.state.is_pending():
            self.pending_state = None
            return 0.0
        if run.state.id != self.pending_state:
            self.pending_state, self.pending_since = run.state.id, now
        return now - self.pending_since


class ShardRuns:
    """The shards of one run, as runs of a deployment."""

    adopts = True  # if the run crashes, its shards go on, and its next attempt goes on with them

    def __init__(self, client: PrefectClient, output_tag: str, deployment: str = _DEPLOYMENT) -> None:
        self._client = client
        self._deployment = deployment
        self._output_tag = output_tag
        self.waiting = 0
        self._runs: dict[int, ShardRun] = {}
        self.all_ids: list[str] = []  # of every run

    async def start(self, folder: ShardFolder, plan: ShardPlan, shard: int, attempt: int) -> None:
        """Create the run of an attempt, or find the one that an earlier process of this run created."""
        created = await arun_deployment(
            self._deployment,
            client=self._client,
            parameters={"plan_url": folder.plan_url, "shard": shard, "attempt": attempt},
            timeout=0,
            flow_run_name=f"{plan.job.name}: rows {plan.label(shard)}",
            tags=[self._output_tag, *tags_of(plan.job)],
            idempotency_key=f"{folder.name}-{shard}-{attempt}",
        )
        self._runs[shard] = ShardRun(created.id)
        self.all_ids.append(str(created.id))

    async def ended(self) -> dict[int, Ended]:
        """The shards whose latest run has ended; a run that somebody deleted counts as crashed.

        If a worker took a run and didn't begin it for long, this sets it to Crashed, and the next call finds it so.
        """
        found = {run.id: run for run in await self._read()}
        self.waiting = sum(run.state is not None and run.state.is_scheduled() for run in found.values())
        await self._give_up_unbegun(found)
        ends: dict[int, Ended | None] = {
            shard: _end_of(found.get(latest.run_id)) for shard, latest in self._runs.items()
        }
        return {shard: end for shard, end in ends.items() if end is not None}

    async def _give_up_unbegun(self, found: Mapping[UUID, FlowRun]) -> None:
        """If a worker took a run and then died, set the run to Crashed; else it would stay Pending for good (prefect 3.8.8).

        The time is measured by this process's clock, since the state's timestamp is the server's.
        """
        now = asyncio.get_running_loop().time()
        for latest in self._runs.values():
            run = found.get(latest.run_id)
            if run is not None and latest.pending_seconds(run, now) >= PENDING_SECONDS:
                message = f"A worker took it and didn't begin it within {PENDING_SECONDS:.0f} s."
                log.warning("%s: %s We set it to Crashed.", run.name, message)
                with suppress(ObjectNotFound):  # somebody deleted it meanwhile
                    await self._client.set_flow_run_state(run.id, Crashed(message=message))

    async def cancel(self) -> None:
        """Cancel the runs that haven't ended."""
        for run in await self._read():
            if _end_of(run) is None:
                state = Cancelling(message="The run that it is a shard of was ended.")
                await self._client.set_flow_run_state(run.id, state)

    async def _read(self) -> list[FlowRun]:
        """The latest runs, without those that somebody deleted."""
        ids, found = [latest.run_id for latest in self._runs.values()], list[FlowRun]()
        for start in range(0, len(ids), _PAGE):
            chosen = FlowRunFilter(id=FlowRunFilterId(any_=ids[start : start + _PAGE]))
            found.extend(await self._client.read_flow_runs(flow_run_filter=chosen, limit=_PAGE))
        return found


def _end_of(run: FlowRun | None) -> Ended | None:
    """How a run has ended; None if it hasn't. `None` for the run: somebody deleted it."""
    if run is None:
        return "crashed"
    return None if run.state is None else END_OF_STATE.get(run.state.type)


@asynccontextmanager
async def shard_runs(shards: int, output_tag: str) -> AsyncGenerator[ShardRuns]:
    """Runs of the deployment that answers shards. Raises: SetupError if there is no server or no such deployment."""
    require_server(shards)
    async with get_client() as client:
        for deployment in (_DEPLOYMENT, _OLD_DEPLOYMENT):
            with suppress(ObjectNotFound):
                await client.read_deployment_by_name(deployment)
                break
        else:
            raise SetupError(
                f"shards is {shards}, and the Prefect server has no deployment {_DEPLOYMENT!r}. Run `prefect --no-prompt "
                f"deploy --all`. {_REMEDY}"
            )
        yield ShardRuns(client, output_tag, deployment)


def require_server(shards: int) -> None:
    """Raises: SetupError if no server is set to run shards; a caller asks before it plans, which may take minutes."""
    if not PREFECT_API_URL.value():
        raise SetupError(
            f"shards is {shards}, which takes a Prefect server with workers; PREFECT_API_URL isn't set. {_REMEDY}"
        )
