"""A plan that grows while its run asks: a thread plans ahead, and what is wrong with a row ends the run there."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from promptmill.errors import InputWrong, RunStopped, SetupError
from promptmill.planning.growth import Growth
from promptmill.runs.progress import Progress
from promptmill.stop import Stop


@asynccontextmanager
async def growing(growth: Growth | None, progress: Progress, stop: Stop) -> AsyncGenerator[None]:
    """While this lasts, the plan grows, and the progress counts its rows; it ends with the block.

    Once an error in the input stops the run, `stop` has the reason.
    """
    if growth is None:
        yield
        return
    planning = asyncio.create_task(_plan_all(growth, progress, stop))
    try:
        yield
    finally:
        growth.end()
        await asyncio.shield(planning)


async def _plan_all(growth: Growth, progress: Progress, stop: Stop) -> None:
    loop = asyncio.get_running_loop()

    def tell() -> None:
        loop.call_soon_threadsafe(_count, growth, progress)

    _count(growth, progress)
    try:
        await asyncio.to_thread(growth.plan_all, tell)
    except RunStopped as error:
        stop.because(error)
    except SetupError as error:
        stop.because(_wrong(error, growth.plan.rows))


def _count(growth: Growth, progress: Progress) -> None:
    plan = growth.plan
    progress.total, progress.sharing = plan.expected_rows, plan.shared
    progress.planned = None if plan.is_whole else plan.rows


def _wrong(error: SetupError, rows: int) -> InputWrong:
    return InputWrong(
        f"{error} The run found it while it asked: {rows:,} rows were planned by then, and every answer that it got is kept. "
        "Run the same command again afterwards; it asks for the rows without an answer. With plan: whole all rows are "
        "checked before the first request."
    )
