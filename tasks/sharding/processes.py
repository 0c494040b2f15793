"""Answers a flow run's rows with several processes of its own machine (promptmill/standalone/side_by_side.py)."""

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any

from promptmill.errors import CredentialsError
from promptmill.provider.transport import Credentials
from promptmill.runs.elsewhere import Elsewhere
from promptmill.runs.run import PendingRun
from promptmill.standalone.side_by_side import answer_side_by_side
from promptmill.stop import Stop
from tasks.run.output_turn import asking
from tasks.run.ownership import while_ours
from tasks.run.progress import showing_lines
from tasks.run.sigterm import stopping_gently
from tasks.server.credentials import load_credentials
from tasks.server.outages import CALL_ERRORS
from tasks.sharding.while_held import while_held


async def answer_in_processes(run: PendingRun) -> Elsewhere:
    """Answer a run with other processes of this machine, if its job asks for any. Raises: RunStopped or a subclass."""
    showing = partial(showing_lines, run.prepared.job.name)
    provider = run.prepared.job.provider
    look_up = None if provider is None else partial(_look_up, provider)
    return await answer_side_by_side(run, showing, partial(_while_ours, run), asking().what, look_up)


async def _look_up(provider: str) -> Credentials:
    """The credentials in the block now. Raises: CredentialsError, also if the server doesn't answer."""
    try:
        return await load_credentials(provider)
    except CALL_ERRORS as error:
        raise CredentialsError(f"the provider block {provider!r} can't be read: {error}") from error


async def _while_ours(run: PendingRun, work: Coroutine[Any, Any, None]) -> None:
    """Do work until it ends, or until somebody stops the run or it loses its output. Raises: RunStopped or a subclass."""
    stop = Stop()
    with stopping_gently(stop):
        await while_ours(_unless_stopped(stop, while_held(run, work)))


async def _unless_stopped(stop: Stop, work: Coroutine[Any, Any, None]) -> None:
    task, asked = asyncio.create_task(work), asyncio.create_task(stop.is_urgent.wait())
    try:
        await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
        if stop.reason is not None:
            raise stop.reason
        await task
    finally:
        for one in (task, asked):
            one.cancel()
        await asyncio.gather(task, asked, return_exceptions=True)
