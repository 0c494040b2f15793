"""How far a run is: a progress artifact in the Prefect UI, and a line in the log or a display in the terminal."""

import asyncio
import logging
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from uuid import UUID

from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact

from promptmill.runs.display import Display, LineDisplay, describe_progress
from promptmill.runs.engine import Engine
from promptmill.runs.progress import Snapshot
from tasks.server.outages import CALL_ERRORS

_ARTIFACT_SECONDS = 5.0
_LOG_SECONDS = 10.0
_FRAME_SECONDS = 0.5
_LINE_SECONDS = 60.0
log = logging.getLogger("promptmill")


async def watch_progress(engine: Engine, title: str) -> None:
    """Show progress until the task is cancelled, and once more at the end."""
    artifact = await show_progress(title, 0.0)
    shown = Display(engine) if sys.stderr.isatty() else None
    with shown or nullcontext():
        since_artifact = since_log = 0.0
        try:
            while True:
                await asyncio.sleep(_FRAME_SECONDS)
                since_artifact, since_log = since_artifact + _FRAME_SECONDS, since_log + _FRAME_SECONDS
                snapshot = engine.progress.snapshot()
                if shown is not None:
                    shown.update(snapshot)
                elif since_log >= _LOG_SECONDS:
                    log.info(describe_progress(engine, snapshot))
                    since_log = 0.0
                if since_artifact >= _ARTIFACT_SECONDS:
                    await _update_artifact(artifact, engine, snapshot)
                    since_artifact = 0.0
        finally:
            snapshot = engine.progress.snapshot()
            if shown is not None:
                shown.update(snapshot)
            await asyncio.shield(_update_artifact(artifact, engine, snapshot))


async def show_progress(title: str, percent: float) -> UUID | None:
    """A progress artifact; None if no server keeps it: that is no reason to end a run."""
    with suppress(*CALL_ERRORS):
        return await acreate_progress_artifact(percent, key=f"{title}-progress", description=title)
    return None


@asynccontextmanager
async def showing_lines(name: str) -> AsyncGenerator[Callable[[str, float], Awaitable[None]]]:
    """Yields a function that shows how far something is, in a line and in per cent; the log gets a line a minute at most."""
    artifact = await show_progress(name, 0.0)
    display = LineDisplay(name) if sys.stderr.isatty() else None
    last = -_LINE_SECONDS

    async def show(line: str, percent: float) -> None:
        nonlocal last
        if display is not None:
            display.update(line)
        elif time.monotonic() - last >= _LINE_SECONDS:
            log.info(line)
            last = time.monotonic()
        if artifact is not None:
            with suppress(*CALL_ERRORS):
                await aupdate_progress_artifact(artifact, percent, description=line)

    with display or nullcontext():
        yield show


async def _update_artifact(artifact: UUID | None, engine: Engine, snapshot: Snapshot) -> None:
    if artifact is None:
        return
    with suppress(*CALL_ERRORS):
        async with asyncio.timeout(_ARTIFACT_SECONDS):  # Prefect's client tries for a minute while its server is away
            await aupdate_progress_artifact(
                artifact, 100 * snapshot.done / max(1, snapshot.total), description=describe_progress(engine, snapshot)
            )
