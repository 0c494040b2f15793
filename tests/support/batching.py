"""Runs a job by batches without Prefect, as the flow does it."""

import asyncio
import time
from typing import Any

from promptmill.batch.session import close_batches, start_batches, work_of_batches
from promptmill.batch.step import BatchWork
from promptmill.job.spec import Job
from promptmill.output.manifest import Manifest
from promptmill.planning.plan import Chunk
from promptmill.provider.transport import Credentials
from promptmill.runs.chunk import complete_chunk
from promptmill.runs.chunk_loop import drive_chunks
from promptmill.runs.engine import Engine
from promptmill.runs.run import FinishedRun, PendingRun, answering, publish_run
from tests.support.jobs import plan_any

DEADLINE_SECONDS = 60.0


async def reuse(engine: Engine, chunk: Chunk, answers: object) -> None:
    """Nobody keeps a record here."""


def wait_for(work: BatchWork, deadline_seconds: float = DEADLINE_SECONDS) -> None:
    """Step until no batch can answer more rows."""
    until = time.monotonic() + deadline_seconds
    while not work.step():
        assert time.monotonic() < until, "the batches did not end"
        time.sleep(work.job.batch.poll_seconds)


async def finish(work: BatchWork, run: PendingRun) -> Manifest:
    """Publish what batches answered."""
    async with answering(run, elsewhere=work_of_batches(work)) as engine:
        await drive_chunks(engine, reuse, complete_chunk)
    finished = await publish_run(run, engine)
    engine.drop_collected()
    close_batches(work)
    return finished.manifest


async def carry_batches(job: Job, credentials: Credentials, **options: Any) -> Manifest:
    """The manifest of a batch run, or of the output that is complete already."""
    run = plan_any(job, credentials, mode="batch", **options)
    if isinstance(run, FinishedRun):
        return run.manifest
    work = await asyncio.to_thread(start_batches, run)
    await asyncio.to_thread(wait_for, work)
    return await finish(work, run)
