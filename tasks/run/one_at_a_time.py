"""Makes runs over one output take turns: the run that began first goes on, and later runs wait.

A deployment's own limit counts only its runs: a run by hand could meet the nightly run of the same job, and two jobs
couldn't run side by side. So a run labels itself when its plan begins, and looks at the labels of other runs when the plan
is made. (People would see tags.) A run that crashed or waits for approval isn't Running, so no other run waits for it.

If a run is killed and no worker reports it, as with a run that a person started, it stays Running (prefect 3.8.8). So the
mark names the process too: if that process no longer exists on this machine, stop waiting for it. A dead run on another
machine is marked Crashed by the automation for dead runs (tasks/server/automations.py).
"""

import asyncio
import logging
from collections.abc import Mapping
from hashlib import blake2b
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.runtime import flow_run

from promptmill.errors import OutputInUse
from promptmill.processes import is_at_work, this_process
from promptmill.runs.run import FinishedRun, Run, look_again
from promptmill.storage import Storage
from tasks.run.output_turn import may_wait
from tasks.run.ownership import own_run
from tasks.server.outages import CALL_ERRORS, is_away

_TURN_SECONDS = 5.0  # between two looks at the runs that go first
OUTPUT, PROCESS = "promptmill.output", "promptmill.process"  # labels of a run; the server can't look for them
_PAGE = 200  # runs in one call, the server's maximum
_AT_WORK = [StateType.RUNNING, StateType.CANCELLING]
log = logging.getLogger("promptmill")


def output_digest(output: Storage) -> str:
    """The name of an output in labels and tags, the same for every spelling of its URL; 8 hex."""
    return blake2b(output.place.encode(), digest_size=4).hexdigest()


async def queue_up(output: Storage) -> None:
    """Label the flow run with this output, and with this process, which runs it."""
    async with get_client() as client:
        await client.update_flow_run_labels(_own_id(), {OUTPUT: output_digest(output), PROCESS: this_process()})


async def take_turn(run: Run) -> Run:
    """Wait until no run that began earlier works on the same output; a run with nothing to do doesn't wait.

    Raises: CancelledThere, TakenForDead, Deleted if the run no longer belongs to this process; OutputError if the earlier
    run left the output of another job.
    """
    if isinstance(run, FinishedRun):
        return run
    said: UUID | None = None
    async with get_client() as client:
        while (first := await _patiently(client, run.prepared.output)) is not None:
            if not may_wait.get():
                raise OutputInUse(
                    f"the run {first.name!r} ({first.id}) on {_machine_of(first.labels)} works on the same output, and one run "
                    "at a time may. Let it finish or end it, then run again; without --no-wait this run would wait for it."
                )
            if said != first.id:
                log.warning(
                    "this run waits for the run %r (%s) on %s, which works on the same output. If that machine is gone, set "
                    "that run's state to Crashed in the Prefect UI.",
                    first.name,
                    first.id,
                    _machine_of(first.labels),
                )
                said = first.id
            await asyncio.sleep(_TURN_SECONDS)
    return run if said is None else await asyncio.to_thread(look_again, run)


async def _patiently(client: PrefectClient, output: Storage) -> FlowRun | None:
    """The run that goes before us, None if there is none. If the server is away, ask again until it answers."""
    while True:
        try:
            return await _first_before_us(client, output_digest(output))
        except CALL_ERRORS as error:
            if not is_away(error):
                raise
            await asyncio.sleep(_TURN_SECONDS)


async def _first_before_us(client: PrefectClient, output: str) -> FlowRun | None:
    own = await own_run(client)
    found = [run for run in await runs_at_work(client) if run.labels.get(OUTPUT) == output]
    before = [run for run in found if run.id != own.id and _order(run) < _order(own)]
    return min((run for run in before if is_alive(run.labels)), key=_order, default=None)


async def runs_at_work(client: PrefectClient) -> list[FlowRun]:
    """All runs at work on the server, also of other people's flows."""
    chosen = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_AT_WORK)))
    found: list[FlowRun] = []
    while len(page := await client.read_flow_runs(flow_run_filter=chosen, limit=_PAGE, offset=len(found))) == _PAGE:
        found.extend(page)
    return [*found, *page]


def _machine_of(labels: Mapping[str, object]) -> str:
    """The machine of a run with these labels."""
    return str(labels.get(PROCESS, "")).rpartition(":")[0] or "an unknown machine"


def is_alive(labels: Mapping[str, object]) -> bool:
    """Whether the process of a run with these labels may still be at work."""
    process = labels.get(PROCESS)
    return process is None or is_at_work(str(process), silent_seconds=0.0)


def _order(run: FlowRun) -> tuple[float, str]:
    """The order of runs: by the start of this attempt; a run that is being cancelled comes before all others."""
    assert run.state is not None  # noqa: S101 - it runs
    return 0.0 if run.state.is_cancelling() else run.state.timestamp.timestamp(), str(run.id)


def _own_id() -> UUID:
    return UUID(flow_run.get_id())
