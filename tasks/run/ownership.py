"""Asks the server every few seconds whether a flow run still belongs to this process.

A worker tells a run's process of a cancellation (sigterm.py), but the worker stops listening for good once the server was
away for about half a minute (prefect 3.8.8, FlowRunCancellingObserver), and nobody tells a run that a person started. And
if a run's heartbeats don't reach the server, the server takes the run for dead and starts it again while it is alive:
unless this process asks, both processes send the same rows.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run

from promptmill.errors import Interrupted
from promptmill.runs.engine import Engine
from tasks.prefect_internals.single_call import calling_once
from tasks.server.outages import CALL_ERRORS

# Between two looks. Less than automations.RERUN_SECONDS: a process that is taken for dead stops before the next one starts.
OWNERSHIP_SECONDS = 8.0
_Result = TypeVar("_Result")
log = logging.getLogger("promptmill")


class CancelledThere(Interrupted):
    """Somebody cancelled the flow run on the server, and no worker told this process."""


class TakenForDead(Interrupted):
    """The server took the flow run for dead; another process goes on with it."""


class Deleted(Interrupted):
    """Somebody deleted the flow run."""


async def watch_ownership(engine: Engine) -> None:
    """Stop the run when it no longer belongs to this process; asks the server every few seconds, until cancelled."""
    while engine.stop.reason is None:
        if (reason := await _look()) is not None:
            log.warning("This process stops sending: %s", type(reason).__doc__)
            engine.stop.interrupt(reason)
        await asyncio.sleep(OWNERSHIP_SECONDS)


async def while_ours(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Do work that sends nothing itself, while the run belongs to this process.

    Raises: CancelledThere, TakenForDead, Deleted; the work is then cancelled.
    """
    task = asyncio.create_task(work)
    try:
        while not task.done():
            if (reason := await _look()) is not None:
                raise reason
            await asyncio.wait([task], timeout=OWNERSHIP_SECONDS)
        return await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _this_attempt() -> int:
    """The number of the flow run's attempt that this process began; 1 = the first."""
    return flow_run.get_run_count()


async def _look() -> Interrupted | None:
    """Why the run no longer belongs to this process; None if it does, or if the server doesn't answer."""
    with calling_once():  # a second try could come minutes too late
        try:
            async with get_client() as client:
                await own_run(client)
        except Interrupted as reason:
            return reason
        except CALL_ERRORS:
            pass
    return None


async def own_run(client: PrefectClient) -> FlowRun:
    """The flow run of this process. Raises: CancelledThere, TakenForDead, Deleted; any of CALL_ERRORS."""
    try:
        found = await client.read_flow_run(run_id())
    except ObjectNotFound as error:
        raise Deleted from error
    if (reason := lost_to(found, _this_attempt())) is not None:
        raise reason
    return found


def lost_to(found: FlowRun, attempt: int) -> Interrupted | None:
    """Why a run no longer belongs to the process that began this attempt; None if it does."""
    if found.state is None or (found.state.is_running() and found.run_count == attempt):
        return None
    return CancelledThere() if found.state.is_cancelling() or found.state.is_cancelled() else TakenForDead()


def run_id() -> UUID:
    """The flow run of this process."""
    return UUID(flow_run.get_id())
