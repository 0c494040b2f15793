"""How a run ends, well or early: somebody is told either way."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from promptmill.errors import RunStopped
from promptmill.runner import Run
from tasks.publish import announce


@asynccontextmanager
async def ending(run: Run) -> AsyncGenerator[None]:
    """Announce a run's end; one that ended early goes on raising."""
    try:
        yield
    except RunStopped:
        await announce(run)
        raise
    await announce(run)
