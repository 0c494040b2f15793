"""Follows a run's batches to their end, in the process that submitted them."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from promptmill.batch.api_errors import KeyRefused
from promptmill.batch.registry import register, unregister_job
from promptmill.batch.session import close_batches, start_batches, stop_run
from promptmill.batch.status import describe, describe_line
from promptmill.batch.step import BatchWork
from promptmill.batch.timing import step_or_give_up
from promptmill.errors import Interrupted, PromptmillError, RunStopped, StorageFailed
from promptmill.processes import this_process
from promptmill.runs.engine import Engine, LookUpCredentials
from promptmill.runs.run import PendingRun
from promptmill.runs.steered import listener_of
from promptmill.runs.steps import showing_step
from promptmill.steering.listening import LOOK_SECONDS, Listener
from promptmill.steering.orders import Steering

_ATTEND_SECONDS = 300.0  # seconds between two notes that this process still waits for its batches


async def begin_batches(run: PendingRun) -> BatchWork:
    """Submit as many rows as there is room for, and continue with the batches that an earlier run submitted.

    This process registers the job before its first batch exists, so that others find all batches if it dies.
    Raises: RunStopped, StorageFailed.
    """
    work = await asyncio.to_thread(start_batches, run)
    await _attend(run)
    if (listener := listener_of(run)) is not None:
        await _hear(work, run, listener)
    try:
        with showing_step("submitting batches"):
            await _step(work, run)
    except PromptmillError:
        if not any(record.state in {"creating", "submitted"} for record in work.ledger.live):
            await asyncio.to_thread(unregister_job, work.job)
        raise
    return work


async def follow_batches(
    work: BatchWork,
    run: PendingRun,
    show: Callable[[str, float], Awaitable[None]],
    look_up_credentials: LookUpCredentials | None = None,
) -> None:
    """Look at a run's batches until none can answer more rows.

    `show` gets the progress as a line and in per cent. `look_up_credentials` gives a new key if the provider refuses the
    old one, since a batch may take a day.
    """
    attended_at, listener = -math.inf, listener_of(run)
    while not work.is_finished:
        if time.monotonic() - attended_at >= _ATTEND_SECONDS:
            await _attend(run)
            attended_at = time.monotonic()
        await _wait(work, run, listener, show)
        await _step(work, run, look_up_credentials)


async def _wait(
    work: BatchWork, run: PendingRun, listener: Listener | None, show: Callable[[str, float], Awaitable[None]]
) -> None:
    """Wait until it is time to look at the batches again, or until the run gets a new order."""
    until, is_new = time.monotonic() + work.job.batch.poll_seconds, False
    while (rest := until - time.monotonic()) > 0 and not is_new:
        pause = "" if work.steering.pause is None else f" · {work.steering.pause}"
        await show(f"{describe_line(work, time.time())}{pause}", percent_of(work))
        await asyncio.sleep(rest if listener is None else min(rest, LOOK_SECONDS))
        is_new = listener is not None and await _hear(work, run, listener)


async def _hear(work: BatchWork, run: PendingRun, listener: Listener) -> bool:
    """Whether the run got a new order; its batches follow it from now on. Raises: StoppedByOrder."""

    async def obey(steering: Steering) -> None:
        work.steering = steering

    with suppress(StorageFailed):
        is_new = await listener.look(obey)
        if (stopped := work.steering.stop) is not None:
            await asyncio.to_thread(stop_run, work, run, stopped)
            raise stopped
        return is_new
    return False


async def forget_batches(work: BatchWork, engine: Engine) -> None:
    """Remove the files that only an unfinished run needs; call it after publishing."""
    await asyncio.to_thread(engine.drop_collected)
    await asyncio.to_thread(close_batches, work)
    await asyncio.to_thread(unregister_job, work.job)


def percent_of(work: BatchWork) -> float:
    """The share of the submitted requests that the provider has completed, in per cent."""
    found = describe(work)
    return 100 * found["completed"] / max(1, found["requests"])


async def _step(work: BatchWork, run: PendingRun, look_up: LookUpCredentials | None = None) -> None:
    """Move a run's batches one step. Raises: RunStopped or a subclass, with the run's manifest."""
    try:
        try:
            await asyncio.to_thread(step_or_give_up, work)
        except KeyRefused:
            if look_up is None or not await asyncio.to_thread(work.provider.renew, await look_up()):
                raise
            await asyncio.to_thread(step_or_give_up, work)
        if work.is_finished and work.ledger.state.is_cancelled:
            raise Interrupted
    except RunStopped as error:
        await asyncio.to_thread(stop_run, work, run, error)
        raise


async def _attend(run: PendingRun) -> None:
    """Register a job whose batches this process waits for. Others can show and cancel them, and continue if it dies."""
    await asyncio.to_thread(register, run.prepared.job, run.retry_failed, run.flow_run_ids, this_process(), time.time())
