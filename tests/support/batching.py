"""Runs a job by batches without Prefect, as the flow does it."""

import asyncio
import time
from typing import Any

from promptmill.batch.session import close_batches, start_batches, take_over
from promptmill.batch.step import BatchWork
from promptmill.job.spec import Job
from promptmill.output.manifest import Manifest
from promptmill.planning.plan import Chunk
from promptmill.provider.transport import Credentials
from promptmill.run.chunk import complete_chunk
from promptmill.run.chunk_loop import drive_chunks
from promptmill.run.engine import Engine
from promptmill.run.run import Run, answering, publish_run
from tests.support.jobs import plan

DEADLINE_SECONDS = 60.0


async def _reuse(engine: Engine, chunk: Chunk, answers: object) -> None:
    """Nobody keeps a record here."""


def wait_for(work: BatchWork, deadline_seconds: float = DEADLINE_SECONDS) -> None:
    """Step until no batch can answer more rows."""
    until = time.monotonic() + deadline_seconds
    while not work.step():
        assert time.monotonic() < until, "the batches did not end"
        time.sleep(work.job.batch.poll_seconds)


async def finish(work: BatchWork, run: Run) -> Manifest:
    """Publish what batches answered."""
    take_over(work, run)
    async with answering(run) as engine:
        await drive_chunks(engine, _reuse, complete_chunk)
    manifest = await publish_run(run)
    engine.drop_collected()
    close_batches(work)
    return manifest


async def carry_batches(job: Job, credentials: Credentials, **options: Any) -> Manifest:
    """The manifest of a batch run, or of the output that is complete already."""
    run = plan(job, credentials, **options)
    if run.manifest is not None:
        return run.manifest
    run.mode = "batch"
    work = await asyncio.to_thread(start_batches, run)
    await asyncio.to_thread(wait_for, work)
    return await finish(work, run)
