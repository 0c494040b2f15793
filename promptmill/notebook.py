"""For a notebook: a DataFrame in, a DataFrame of answers and one of failures out, with the engine and checkpoints of a run."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

import pandas as pd

from promptmill.batch.session import refuse_rows_in_batches
from promptmill.checkpoints.output_turn import Asking, take_turn_at
from promptmill.dataset.frames import from_frame
from promptmill.errors import SetupError
from promptmill.job.file import load_job, parse_job
from promptmill.job.spec import Job
from promptmill.output.manifest import Manifest
from promptmill.output.reading import read, read_failures
from promptmill.planning.prepared_job import today
from promptmill.provider.first_contact import require_contact
from promptmill.provider.transport import Credentials
from promptmill.runs.holding import holding
from promptmill.runs.run import FinishedRun, PendingRun, Planning, plan_run, run_plainly

_FRAME_URL = "memory://frame"


class Answers(NamedTuple):
    """The model's answers to a frame's rows, and the rows that failed."""

    answers: pd.DataFrame  # the frame's columns and the answer columns; the rows that succeeded, in input order
    failures: pd.DataFrame  # the frame's columns and the reason; the rows that failed, in input order
    manifest: Manifest


def run(
    frame: pd.DataFrame, job: Job | Mapping[str, Any] | str, *, retry_failed: bool = False, wait: bool = True
) -> Answers:
    """Run a job over a frame instead of its `input.url`; call it again, and it sends only the rows that have no answer.

    `job` is a Job, its values, or the path of a job file; the values need no `input`. The output doesn't carry the
    frame's index. The run publishes its output at `output.url`, as any other run does.
    The function refuses what only a flow can do: `provider`, `limits.shared`, `approve_above_usd`, `shards` and
    `task_runner`. It takes the credentials from the environment.
    While another run works on the same output, this one waits for it; with `wait=False` it raises OutputInUse.
    It works whether or not an event loop is running, as one is in Jupyter.
    Raises: SetupError when the job or its environment is wrong; RunStopped or a subclass when the run ends early.
    """
    interruption = _Interruption()
    with ThreadPoolExecutor(1) as own_thread:
        answering = own_thread.submit(
            lambda: asyncio.run(interruption.allowing(_run(frame, job_from(job), retry_failed, wait)))
        )
        try:
            return answering.result()
        except KeyboardInterrupt:
            interruption.end()
            raise


class _Interruption:
    """Ends a coroutine that runs in another thread: Ctrl-C reaches the main thread only."""

    def __init__(self) -> None:
        self._end: Callable[[], object] = lambda: None

    async def allowing(self, work: Coroutine[Any, Any, Answers]) -> Answers:
        """The result of the work, which `end` cancels."""
        task, loop = asyncio.ensure_future(work), asyncio.get_running_loop()
        self._end = lambda: loop.call_soon_threadsafe(task.cancel)
        return await task

    def end(self) -> None:
        """Cancel the work, if it still runs."""
        with suppress(RuntimeError):  # its loop is closed
            self._end()


def _refuse_what_needs_prefect(job: Job) -> None:
    asked = {
        "provider": job.provider is not None,
        "approve_above_usd": job.approve_above_usd is not None,
        "shards": job.shards > 1,
        "task_runner": job.task_runner != "local",
    }
    if found := [name for name, is_asked in asked.items() if is_asked]:
        raise SetupError(
            f"the job has {', '.join(found)}, which only a flow can do, and promptmill.run starts no flow. Leave it out "
            "(OPENAI_API_KEY and OPENAI_BASE_URL then name the provider), or run the job with `promptmill run`."
        )


async def _run(frame: pd.DataFrame, job: Job, retry_failed: bool, wait: bool) -> Answers:
    _refuse_what_needs_prefect(job)
    planned = plan_run(
        job,
        Credentials(),
        Planning(today(), retry_failed=retry_failed, dataset=from_frame(frame, job.input)),
    )
    finished = planned if isinstance(planned, FinishedRun) else await _run_alone(planned, wait)
    url = finished.prepared.output.url
    return Answers(read(url), read_failures(url), finished.manifest)


async def _run_alone(planned: PendingRun, wait: bool) -> FinishedRun:
    """Carry out a run once no other works on its output."""
    await asyncio.to_thread(require_contact, planned.credentials)
    store = planned.prepared.store
    turn = await take_turn_at(store.storage, Asking("promptmill.run in Python", wait=wait))
    async with holding(planned, turn) as held:
        if isinstance(held, FinishedRun):
            return held
        await asyncio.to_thread(refuse_rows_in_batches, store, planned.prepared.output.url)
        return await run_plainly(held)


def job_from(job: Job | Mapping[str, Any] | str) -> Job:
    """The job that `run` was given, in any of its three forms. Raises: JobError."""
    if isinstance(job, Job):
        return job
    if isinstance(job, str):
        return load_job(job)
    return parse_job({"input": {"url": _FRAME_URL}, **job}, is_ordered=True)
