"""A run looks by itself whether it is still this process's to carry out.

A worker tells a run's process of a cancellation (signals.py), but stops listening for good once the server was away for
about half a minute (prefect 3.8.8, FlowRunCancellingObserver), and nobody tells a run that a person started by hand.
And a run whose heartbeats could not reach the server is taken for dead and started again while it is alive: without a
look of its own, both processes would send the same rows.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import Abort, PrefectException
from prefect.runtime import flow_run
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Cancelled

from promptmill.engine import Engine
from promptmill.errors import Interrupted

LOOK_SECONDS = 8.0  # so that who is taken for dead has stopped before its successor starts (automations.RERUN_SECONDS)
log = logging.getLogger("promptmill")


class CancelledThere(Interrupted):
    """Somebody cancelled the flow run, and no worker has told."""


class TakenOver(Interrupted):
    """The flow run was taken for dead; another process goes on with it."""


async def watch_ownership(engine: Engine) -> None:
    """Stop the run once it is no longer ours; looks every few seconds, by one call to the server, until cancelled."""
    attempt: int | None = None
    no_retries = temporary_settings(updates={PREFECT_CLIENT_MAX_RETRIES: 0})  # its next could come minutes too late
    with no_retries:
        async with get_client() as client:
            while engine.stop.reason is None:
                with suppress(PrefectException, httpx.HTTPError, OSError):
                    found = await client.read_flow_run(_id())
                    attempt = found.run_count if attempt is None else attempt
                    if (reason := lost_to(found, attempt)) is not None:
                        log.warning("This process stops sending: %s", type(reason).__doc__)
                        engine.stop.interrupt(reason)
                await asyncio.sleep(LOOK_SECONDS)


def lost_to(found: FlowRun, attempt: int) -> Interrupted | None:
    """Why a run that this process carries out as its so-manieth attempt is no longer its own; None where it is."""
    if found.state is None or (found.state.is_running() and found.run_count == attempt):
        return None
    return CancelledThere() if found.state.is_cancelling() or found.state.is_cancelled() else TakenOver()


@asynccontextmanager
async def ending_without_ownership() -> AsyncGenerator[None]:
    """End a run that isn't ours any more: as Cancelled where it was cancelled, else without a word about its state."""
    try:
        yield
    except CancelledThere as error:
        async with get_client() as client:
            await _mark_cancelled(client)
        raise Abort(str(error)) from error
    except TakenOver as error:
        raise Abort(str(error)) from error


async def _mark_cancelled(client: PrefectClient) -> None:
    state = Cancelled(message="It was cancelled; all that was answered is kept.")
    await client.set_flow_run_state(_id(), state, force=True)


def _id() -> UUID:
    return UUID(flow_run.get_id())
