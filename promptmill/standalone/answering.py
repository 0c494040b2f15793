"""Answers the rows of a run without Prefect: shows progress, can be ended from outside, and tries chunks again."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import pyarrow as pa

from promptmill.checkpoints.output_turn import Asking
from promptmill.errors import StorageFailed
from promptmill.limits.leased_bucket import Lessor
from promptmill.planning.plan import Chunk
from promptmill.runs.chunk import complete_chunk
from promptmill.runs.chunk_loop import drive_chunks
from promptmill.runs.elsewhere import NOTHING_ELSEWHERE, Elsewhere
from promptmill.runs.engine import Engine, LookUpCredentials
from promptmill.runs.run import PendingRun, answering
from promptmill.runs.showing import showing
from promptmill.standalone.interruption import Interruption

_RETRY_DELAYS_SECONDS = (5.0, 30.0)  # as those of a chunk's task (tasks/run/chunks.py)
log = logging.getLogger("promptmill")


@dataclass(frozen=True, slots=True)
class Alone:
    """How a run without Prefect asks for its output, how somebody ends it, and where it shows progress."""

    asking: Asking
    interruption: Interruption = field(default_factory=Interruption)
    showing: Callable[[Engine], AbstractAsyncContextManager[None]] = showing
    look_up: LookUpCredentials | None = None  # finds the credentials if the environment doesn't have the key


@asynccontextmanager
async def answering_alone(
    run: PendingRun, how: Alone, elsewhere: Elsewhere = NOTHING_ELSEWHERE, lessor: Lessor | None = None
) -> AsyncGenerator[Engine]:
    """The engine of a run, which shows progress until the run ends. Raises: RunStopped or a subclass if it ends early."""
    async with answering(run, lessor, elsewhere, how.look_up) as engine, how.showing(engine):
        with how.interruption.stopping(engine.stop):
            yield engine


async def answer_rows_alone(engine: Engine) -> None:
    """Answer every row of the plan. Raises: RunStopped or a subclass if the run ends early."""
    await drive_chunks(engine, _reuse, _complete)


async def _reuse(engine: Engine, chunk: Chunk, answers: pa.Table) -> None:
    """Does nothing: only Prefect keeps a record of a chunk beside its answers."""


async def _complete(engine: Engine, chunk: Chunk, rows: pa.Table) -> None:
    """Complete a chunk; after a fault of the storage try again, as a Prefect task would."""
    for delay_seconds in _RETRY_DELAYS_SECONDS:
        try:
            await complete_chunk(engine, chunk, rows)
        except StorageFailed as error:
            if engine.stop.reason is not None:
                raise
            log.warning("rows %s are tried again in %.0f s: %s", chunk.label, delay_seconds, error)
            with engine.stop.waiting():
                await asyncio.sleep(delay_seconds)
        else:
            return
    await complete_chunk(engine, chunk, rows)
