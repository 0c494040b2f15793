"""Ends a flow run early: announces the end by an event and an artifact, and ends in the state that Prefect expects."""

import signal
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

from prefect.client.orchestration import PrefectClient, get_client
from prefect.exceptions import Abort, TerminationSignal
from prefect.states import Cancelled

from promptmill.errors import RunStopped, StoppedByOrder
from promptmill.output.manifest import Manifest
from promptmill.runs.run import Run
from tasks.run.ownership import CancelledThere, Deleted, TakenForDead, run_id
from tasks.run.publish import announce
from tasks.run.sigterm import Terminated

_CANCELLED = "The run was cancelled. It keeps every answer that it got."


@asynccontextmanager
async def ending(run: Run) -> AsyncGenerator[None]:
    """Announce that a run ends early, and raise again. A flow that finishes its run announces the end itself."""
    async with ending_in_order():
        try:
            yield
        except RunStopped as error:
            is_told = isinstance(error, TakenForDead)  # the process that continues the run will announce it
            if isinstance(error.manifest, Manifest) and not is_told:
                await announce(run.prepared, error.manifest)
            raise


@asynccontextmanager
async def ending_in_order() -> AsyncGenerator[None]:
    """End a flow run as Prefect expects after SIGTERM, or after another process took over the run."""
    with _ending_as_prefect_expects():
        async with _ending_without_ownership():
            yield


@asynccontextmanager
async def _ending_without_ownership() -> AsyncGenerator[None]:
    """End a run that we lost: as Cancelled if somebody cancelled or stopped it, else in its present state."""
    try:
        yield
    except (CancelledThere, StoppedByOrder) as error:
        told = str(error) if isinstance(error, StoppedByOrder) else _CANCELLED
        async with get_client() as client:
            await _mark_cancelled(client, told)
        raise Abort(str(error)) from error
    except (TakenForDead, Deleted) as error:
        raise Abort(str(error)) from error


async def _mark_cancelled(client: PrefectClient, told: str) -> None:
    state = Cancelled(message=told)
    await client.set_flow_run_state(run_id(), state, force=True)


@contextmanager
def _ending_as_prefect_expects() -> Generator[None]:
    """End a run that SIGTERM stopped as if Prefect's own handler had raised.

    Prefect then reports it as Cancelled if somebody cancelled it, and as Crashed if its machine went down.
    """
    try:
        yield
    except Terminated as error:
        raise TerminationSignal(signal.SIGTERM) from error
