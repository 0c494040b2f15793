"""How a run ends, well or early: somebody is told either way."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from promptmill.errors import RunStopped
from promptmill.runner import Run
from tasks.ownership import TakenOver, ending_without_ownership
from tasks.publish import announce
from tasks.signals import ending_as_prefect_expects


@asynccontextmanager
async def ending(run: Run) -> AsyncGenerator[None]:
    """Announce a run's end; one that ended early goes on raising."""
    async with ending_in_order():
        try:
            yield
        except RunStopped as error:
            if not isinstance(error, TakenOver):  # another process goes on and will tell
                await announce(run)
            raise
        await announce(run)


@asynccontextmanager
async def ending_in_order() -> AsyncGenerator[None]:
    """End a flow run as Prefect expects it where its process was told to end, or isn't the one to carry it out any more."""
    with ending_as_prefect_expects():
        async with ending_without_ownership():
            yield
