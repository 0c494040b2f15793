"""Requests on their way, given time to end: they are paid for."""

import asyncio

from promptmill.stop import Stop

_DRAIN_SECONDS = 10.0  # that requests in flight are given to finish when somebody stops the run


async def finish_tasks(stop: Stop, tasks: set[asyncio.Task[None]]) -> None:
    """Wait for requests on their way, which are paid for; once somebody waits for the run's end, ten seconds at most."""
    hurry = asyncio.ensure_future(stop.is_urgent.wait())
    try:
        while tasks and not hurry.done():
            await asyncio.wait({*tasks, hurry}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        hurry.cancel()
    await drain_tasks(tasks)


async def drain_tasks(tasks: set[asyncio.Task[None]]) -> None:
    """Wait ten seconds at most for requests on their way, then cancel what is left."""
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=_DRAIN_SECONDS)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
