"""A run's batches followed to their end by the process that submitted them."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable

from promptmill.batch.api_errors import KeyRefused
from promptmill.batch.registry import register, unregister_job
from promptmill.batch.session import close_batches, start_batches, stop_run
from promptmill.batch.status import describe, describe_line
from promptmill.batch.step import BatchWork
from promptmill.errors import Interrupted, PromptmillError, RunStopped
from promptmill.processes import this_process
from promptmill.runs.engine import Engine, LookUpCredentials
from promptmill.runs.run import PendingRun
from promptmill.runs.steps import showing_step

_ATTEND_SECONDS = 300.0  # between two notes that this process still waits for its batches


async def begin_batches(run: PendingRun) -> BatchWork:
    """Submit what there is room for; batches that an earlier run submitted are taken up.

    This process writes the job down before the job's first batch exists. If it dies, others find all batches.
    Raises: RunStopped, StorageFailed.
    """
    work = await asyncio.to_thread(start_batches, run)
    await _attend(run)
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

    `show` is told how far they are, in a line and in per cent. `look_up_credentials` is asked when the provider refuses the
    key: a day may pass until a batch ends.
    """
    attended_at = -math.inf
    while not work.is_finished:
        if time.monotonic() - attended_at >= _ATTEND_SECONDS:
            await _attend(run)
            attended_at = time.monotonic()
        await show(describe_line(work, time.time()), percent_of(work))
        await asyncio.sleep(work.job.batch.poll_seconds)
        await _step(work, run, look_up_credentials)


async def forget_batches(work: BatchWork, engine: Engine) -> None:
    """Remove what only an unfinished run needs; call it after publishing."""
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
            await asyncio.to_thread(work.step)
        except KeyRefused:
            if look_up is None or not await asyncio.to_thread(work.provider.renew, await look_up()):
                raise
            await asyncio.to_thread(work.step)
        if work.is_finished and work.ledger.state.is_cancelled:
            raise Interrupted
    except RunStopped as error:
        await asyncio.to_thread(stop_run, work, run, error)
        raise


async def _attend(run: PendingRun) -> None:
    """Write a job down as one whose batches this process waits for: others show and cancel them, and go on if it dies."""
    await asyncio.to_thread(register, run.prepared.job, run.retry_failed, run.flow_run_ids, this_process(), time.time())
