"""Shows how far a run is, in the terminal by a display and elsewhere by lines in the log."""

import asyncio
import logging
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, nullcontext

from promptmill.reminders import pauses
from promptmill.runs.display import Display, LineDisplay, NotebookLine, describe_progress
from promptmill.runs.engine import Engine

_FRAME_SECONDS = 0.5
_LINE_SECONDS = 60.0
log = logging.getLogger("promptmill")


@asynccontextmanager
async def showing(engine: Engine) -> AsyncGenerator[None]:
    """While this lasts, the engine's progress is shown; once more at the end."""
    watcher = asyncio.create_task(_watch(engine))
    try:
        yield
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)  # a watcher that failed ends no run


async def _watch(engine: Engine) -> None:
    shown = _display(engine)
    waits = pauses()
    log_at = time.monotonic() + next(waits)
    with shown or nullcontext():
        try:
            while True:
                await asyncio.sleep(_FRAME_SECONDS)
                if shown is not None:
                    shown.update(engine.progress.snapshot())
                elif time.monotonic() >= log_at:
                    log.info(describe_progress(engine, engine.progress.snapshot()))
                    log_at = time.monotonic() + next(waits)
        finally:
            if shown is not None:
                shown.update(engine.progress.snapshot())


def _display(engine: Engine) -> Display | NotebookLine | None:
    """What draws progress where standard error leads; None where only the log is read."""
    if sys.stderr.isatty():
        return Display(engine) if has_room() else None
    is_notebook = type(sys.stderr).__module__.startswith("ipykernel")
    return NotebookLine(engine, sys.stderr) if is_notebook else None


def has_room() -> bool:
    """Whether the terminal has room for a display: not beside log lines with every detail, nor where errors alone count."""
    return log.isEnabledFor(logging.WARNING) and not log.isEnabledFor(logging.DEBUG)


@contextmanager
def showing_lines(name: str) -> Generator[Callable[[str], None]]:
    """Yields a function that shows how far something is, in a line; the log gets a line a minute at most."""
    display = LineDisplay(name) if sys.stderr.isatty() and has_room() else None
    last = -_LINE_SECONDS

    def show(line: str) -> None:
        nonlocal last
        if display is not None:
            display.update(line)
        elif time.monotonic() - last >= _LINE_SECONDS:
            log.info(line)
            last = time.monotonic()

    with display or nullcontext():
        yield show
