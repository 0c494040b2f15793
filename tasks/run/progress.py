"""Shows how far a run is, as a progress artifact in the Prefect UI."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from uuid import UUID

from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact

from promptmill.runs import showing
from promptmill.runs.display import describe_progress
from promptmill.runs.engine import Engine
from promptmill.runs.progress import Snapshot
from tasks.server.outages import CALL_ERRORS

_ARTIFACT_SECONDS = 5.0


async def watch_progress(engine: Engine, title: str) -> None:
    """Keep the artifact up to date until the task is cancelled, and once more at the end."""
    artifact = await show_progress(title, 0.0)
    try:
        while True:
            await asyncio.sleep(_ARTIFACT_SECONDS)
            await _update_artifact(artifact, engine, engine.progress.snapshot())
    finally:
        await asyncio.shield(_update_artifact(artifact, engine, engine.progress.snapshot()))


async def show_progress(title: str, percent: float) -> UUID | None:
    """A progress artifact; None if no server keeps it: that is no reason to end a run."""
    with suppress(*CALL_ERRORS):
        return await acreate_progress_artifact(percent, key=f"{title}-progress", description=title)
    return None


@asynccontextmanager
async def showing_lines(name: str) -> AsyncGenerator[Callable[[str, float], Awaitable[None]]]:
    """Yields a function that shows how far something is, in a line and in per cent."""
    artifact = await show_progress(name, 0.0)
    with showing.showing_lines(name) as show_line:

        async def show(line: str, percent: float) -> None:
            show_line(line)
            if artifact is not None:
                with suppress(*CALL_ERRORS):
                    await aupdate_progress_artifact(artifact, percent, description=line)

        yield show


async def _update_artifact(artifact: UUID | None, engine: Engine, snapshot: Snapshot) -> None:
    if artifact is None:
        return
    with suppress(*CALL_ERRORS):
        async with asyncio.timeout(_ARTIFACT_SECONDS):  # Prefect's client tries for a minute while its server is away
            await aupdate_progress_artifact(
                artifact, 100 * snapshot.done / max(1, snapshot.total), description=describe_progress(engine, snapshot)
            )
