"""One run of a job in a process of its own, without a Prefect server; it ends as the command does.

The campaign forks it from a process that has imported everything, since the import takes longer than a round's run.
"""

import asyncio
import os
import signal
import sys
import time
from datetime import date
from pathlib import Path

from promptmill.batch.session import close_batches, start_batches, work_of_batches
from promptmill.batch.step import BatchWork
from promptmill.errors import PromptmillError
from promptmill.job.spec import Job
from promptmill.planning.plan import Chunk
from promptmill.provider.transport import Credentials
from promptmill.runs.chunk import complete_chunk
from promptmill.runs.chunk_loop import drive_chunks
from promptmill.runs.engine import Engine
from promptmill.runs.run import FinishedRun, PendingRun, Planning, answering, plan_run, publish_run, run_plainly

TODAY = date(2026, 11, 26)


def carry(job_file: str, base_url: str, mode: str, log: str) -> None:
    """Run a job to its end. Raises: SystemExit with the exit code of the command."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.environ["SSL_CERT_DIR"] = str(Path(job_file).parent)  # no certificate: to load them is half a small run's CPU
    job = Job.model_validate_json(Path(job_file).read_bytes())
    try:
        run = plan_run(job, Credentials(api_key="campaign", base_url=base_url), Planning(TODAY, mode=mode))
        if isinstance(run, PendingRun):
            asyncio.run(_run_batches(run) if mode == "batch" else run_plainly(run))
    except PromptmillError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        raise SystemExit(error.exit_code) from None


async def _reuse(engine: Engine, chunk: Chunk, answers: object) -> None:
    """Nobody keeps a record here."""


def _step_until_finished(work: BatchWork) -> None:
    while not work.step():
        time.sleep(work.job.batch.poll_seconds)


async def _run_batches(run: PendingRun) -> FinishedRun:
    """Carry out the batches from start to end, as the flow does."""
    work = await asyncio.to_thread(start_batches, run)
    await asyncio.to_thread(_step_until_finished, work)
    async with answering(run, elsewhere=work_of_batches(work)) as engine:
        await drive_chunks(engine, _reuse, complete_chunk)
    finished = await publish_run(run, engine)
    engine.drop_collected()
    close_batches(work)
    return finished
