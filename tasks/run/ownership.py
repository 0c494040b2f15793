"""A run looks by itself whether it is still this process's to carry out.

A worker tells a run's process of a cancellation (signals.py), but stops listening for good once the server was away for
about half a minute (prefect 3.8.8, FlowRunCancellingObserver), and nobody tells a run that a person started by hand.
And a run whose heartbeats could not reach the server is taken for dead and started again while it is alive: without a
look of its own, both processes would send the same rows.
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
from promptmill.run.engine import Engine
from tasks.prefect_internals.single_call import calling_once
from tasks.server.outages import CALL_ERRORS

LOOK_SECONDS = 8.0  # so that who is taken for dead has stopped before its successor starts (automations.RERUN_SECONDS)
Result = TypeVar("Result")
log = logging.getLogger("promptmill")


class CancelledThere(Interrupted):
    """Somebody cancelled the flow run, and no worker has told."""


class TakenOver(Interrupted):
    """The flow run was taken for dead; another process goes on with it."""


class Deleted(Interrupted):
    """Somebody deleted the flow run."""


async def watch_ownership(engine: Engine) -> None:
    """Stop the run once it is no longer ours; looks every few seconds, by one call to the server, until cancelled."""
    while engine.stop.reason is None:
        if (reason := await _look()) is not None:
            log.warning("This process stops sending: %s", type(reason).__doc__)
            engine.stop.interrupt(reason)
        await asyncio.sleep(LOOK_SECONDS)


async def while_ours(work: Coroutine[Any, Any, Result]) -> Result:
    """Carry out work that sends nothing itself, for as long as the run is ours.

    Raises: CancelledThere, TakenOver, Deleted; the work is cancelled then.
    """
    task = asyncio.create_task(work)
    try:
        while not task.done():
            if (reason := await _look()) is not None:
                raise reason
            await asyncio.wait([task], timeout=LOOK_SECONDS)
        return await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def this_attempt() -> int:
    """As which attempt at its flow run this process began, the first being 1."""
    return flow_run.get_run_count()


async def _look() -> Interrupted | None:
    """Why the run is no longer ours; None where it is, or where the server can't be asked."""
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
    """The run, for as long as it is ours. Raises: CancelledThere, TakenOver, Deleted; as the client does."""
    try:
        found = await client.read_flow_run(run_id())
    except ObjectNotFound as error:
        raise Deleted from error
    if (reason := lost_to(found, this_attempt())) is not None:
        raise reason
    return found


def lost_to(found: FlowRun, attempt: int) -> Interrupted | None:
    """Why a run that this process began as that attempt is no longer its own; None where it is."""
    if found.state is None or (found.state.is_running() and found.run_count == attempt):
        return None
    return CancelledThere() if found.state.is_cancelling() or found.state.is_cancelled() else TakenOver()


def run_id() -> UUID:
    """The flow run of this process."""
    return UUID(flow_run.get_id())
