"""For a notebook: a DataFrame in, a DataFrame of answers and one of failures out, with the engine and checkpoints of a run."""

import asyncio
import signal
import threading
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

import pandas as pd

from promptmill.checkpoints.output_turn import Asking
from promptmill.dataset.frames import from_frame
from promptmill.errors import Interrupted, SetupError
from promptmill.job.file import load_job, parse_job
from promptmill.job.spec import Job
from promptmill.output.manifest import Manifest
from promptmill.output.reading import read, read_failures
from promptmill.planning.prepared_job import today
from promptmill.provider.first_contact import require_contact
from promptmill.provider.transport import Credentials
from promptmill.runs.run import PendingRun, Planning, plan_run
from promptmill.signals import handling
from promptmill.standalone.answering import Alone
from promptmill.standalone.interruption import Interruption
from promptmill.standalone.running import run_alone

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
    It works whether or not an event loop is running, as one is in Jupyter, and shows there how far it is.
    An interrupt (Ctrl-C, or stopping the cell) ends it within seconds: it sends no more, keeps what arrives within ten, and
    raises KeyboardInterrupt; a second one doesn't wait. Call it again to go on.
    Raises: SetupError when the job or its environment is wrong; RunStopped or a subclass when the run ends early.
    """
    interruption = Interruption()
    whole = job_from(job)
    answering = _in_own_thread(
        lambda: asyncio.run(interruption.allowing(_run(frame, whole, retry_failed, wait, interruption)))
    )
    try:
        with _ending_on_interrupt(interruption):
            return answering.result()
    except Interrupted as error:
        raise KeyboardInterrupt(str(error)) from error
    finally:
        interruption.end()


def _in_own_thread(work: Callable[[], Answers]) -> "Future[Answers]":
    """What comes of work in a thread of its own, where no event loop runs yet."""
    answering: Future[Answers] = Future()

    def carry_out() -> None:
        try:
            answering.set_result(work())
        except BaseException as error:  # it is raised in the caller's thread
            answering.set_exception(error)

    threading.Thread(target=carry_out, name="promptmill.run", daemon=True).start()
    return answering


@contextmanager
def _ending_on_interrupt(interruption: Interruption) -> Generator[None]:
    """While this lasts, the first interrupt ends the run gently, and a second one the wait for it.

    The handler of a running event loop, as `asyncio.run` installs it, would only tell a task that can't listen now.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        if interruption.is_asked:
            raise KeyboardInterrupt(Interrupted.MESSAGE)
        interruption.end()

    with handling(signal.SIGINT, end):
        yield


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


def _in_one_process(job: Job) -> Job:
    """The job for rows that only this process has. Raises: SetupError where it asks for more than one."""
    if job.processes not in (1, "auto"):
        raise SetupError(
            f"processes is {job.processes}, and the rows of a frame are in this process alone. Leave processes out, or write "
            "the frame to a Parquet file and run the job with `promptmill run`."
        )
    return job.model_copy(update={"processes": 1})


async def _run(frame: pd.DataFrame, job: Job, retry_failed: bool, wait: bool, interruption: Interruption) -> Answers:
    _refuse_what_needs_prefect(job)
    job = _in_one_process(job)
    dataset = from_frame(frame, job.input)
    planning = Planning(today(), retry_failed=retry_failed, dataset=dataset, tell=interruption.tell)
    planned = await asyncio.to_thread(plan_run, job, Credentials(), planning)
    if isinstance(planned, PendingRun):
        await asyncio.to_thread(require_contact, planned.credentials)
        finished = await run_alone(planned, Alone(Asking("promptmill.run in Python", wait=wait), interruption))
    else:
        finished = planned
    url = finished.prepared.output.url
    return Answers(read(url), read_failures(url), finished.manifest)


def job_from(job: Job | Mapping[str, Any] | str) -> Job:
    """The job that `run` was given, in any of its three forms. Raises: JobError."""
    if isinstance(job, Job):
        return job
    if isinstance(job, str):
        return load_job(job)
    return parse_job({"input": {"url": _FRAME_URL}, **job}, is_ordered=True)
