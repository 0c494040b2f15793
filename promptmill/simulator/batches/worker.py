"""Takes a batch from `validating` to its end, on a fast clock.

Each status lasts a fixed part of `batch_seconds`; if its work takes longer, the batch takes longer.
"""

import time
from dataclasses import replace
from io import BytesIO
from typing import BinaryIO

from promptmill.simulator.answers.engine import Endpoint
from promptmill.simulator.batches.checks import FileCheck, file_too_large, missing_file, queue_full
from promptmill.simulator.batches.run import SLICE_SECONDS, BatchRun
from promptmill.simulator.errors import ApiError
from promptmill.simulator.state.batch import Problem
from promptmill.simulator.state.batch_job import BatchJob
from promptmill.simulator.state.world import World

_VALIDATING_SHARE = 0.2
_RUNNING_SHARE = 0.6
_FINALIZING_SHARE = 0.2


async def run_batch(world: World, job: BatchJob, endpoint: Endpoint) -> None:
    """Take a new batch to its end; the job always holds its current value."""
    validated_at = time.monotonic() + _VALIDATING_SHARE * world.options.batch_seconds
    check = FileCheck(endpoint, world.options, world.tokenizer)
    with _open_input(world, job, check) as content:
        await _validate(world, job, content, check)
        if not await job.pause_until(validated_at):
            await _run_or_fail(world, job, endpoint, content, check)
    if job.batch.status == "cancelling":
        await _cancel(world, job)
    world.ledger.counters[f"batches_{job.batch.status}"] += 1


async def _run_or_fail(world: World, job: BatchJob, endpoint: Endpoint, content: BinaryIO, check: FileCheck) -> None:
    """Run a batch with a valid file; otherwise it becomes `failed`, with the mistakes."""
    if check.problems:
        job.batch = replace(job.batch, problems=tuple(check.problems))
        job.move("failed")
        return
    seconds = world.options.batch_seconds
    job.batch = replace(job.batch, total=len(check.offsets))
    job.move("in_progress")
    with BatchRun(world, job, endpoint, content, check.offsets) as run:
        await run.execute(_RUNNING_SHARE * seconds)
        await _finish(job, run, _FINALIZING_SHARE * seconds)


async def _finish(job: BatchJob, run: BatchRun, seconds: float) -> None:
    """Publish the results so far; then comes the last status, unless the batch is `cancelling`."""
    if job.batch.status == "cancelling":
        run.publish()
        return
    if not run.is_expiring:
        job.move("finalizing")
        await job.pause_until(time.monotonic() + seconds)
    run.publish()
    job.move("expired" if run.is_expiring else "completed")


async def _cancel(world: World, job: BatchJob) -> None:
    """The time in `cancelling`; the result files are named only at its end."""
    batch = job.batch
    job.batch = replace(batch, output_file_id=None, error_file_id=None)
    job.cancelled.clear()
    await job.pause_until(time.monotonic() + world.options.cancel_seconds)
    job.batch = batch
    job.move("cancelled")


def _open_input(world: World, job: BatchJob, check: FileCheck) -> BinaryIO:
    """The input file, held open because somebody may delete it; if there is none, an empty one and a problem."""
    options, file_id = world.options, job.batch.input_file_id
    try:
        file = world.files.find(job.batch.key, file_id)
    except ApiError:
        file = None
    if file is None or file.purpose != "batch" or job.ordinal <= options.batch_fail_first:
        check.problems.append(missing_file(file_id, options.organization))
        return BytesIO()
    if file.size_bytes > options.batch_max_bytes:
        check.problems.append(file_too_large(file.size_bytes, options.batch_max_bytes))
        return BytesIO()
    return file.path.open("rb")


async def _validate(world: World, job: BatchJob, content: BinaryIO, check: FileCheck) -> None:
    """Read all lines; then the batch's tokens are in the queue, if there is room for them."""
    if check.problems:
        return
    offset = 0
    started = time.monotonic()
    for raw in content:
        check.add(offset, raw)
        offset += len(raw)
        if time.monotonic() - started > SLICE_SECONDS:
            await job.pause_until(0)
            started = time.monotonic()
    check.finish()
    job.batch = replace(job.batch, model=check.model)
    if not check.problems and (problem := _queue_problem(world, check)) is not None:
        check.problems.append(problem)
    if not check.problems:
        job.queued_tokens = check.input_tokens


def _queue_problem(world: World, check: FileCheck) -> Problem | None:
    limit = world.options.enqueued_token_limit
    if limit is None:
        return None
    waiting = (job for job in world.batches.values() if not job.batch.is_over and job.batch.model == check.model)
    if sum(job.queued_tokens for job in waiting) + check.input_tokens <= limit:
        return None
    return queue_full(check.model, world.options.organization, limit)
