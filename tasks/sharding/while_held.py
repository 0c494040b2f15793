"""Stops a run's supervising work when the run loses its output."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from promptmill.runs.run import PendingRun
from tasks.run.ownership import OWNERSHIP_SECONDS


async def while_held(run: PendingRun, work: Coroutine[Any, Any, None]) -> None:
    """Do work that sends nothing itself, while the run holds its output. Raises: LeaseLost."""
    task = asyncio.create_task(work)
    try:
        while not task.done():
            await asyncio.wait([task], timeout=OWNERSHIP_SECONDS)
            if run.lease is not None:
                await run.lease.confirm()
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
