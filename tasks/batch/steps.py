"""Submits a job's batches, waits for them or advances them a step, and finishes the job."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from promptmill.allowed_urls import is_closed_process
from promptmill.batch.api import NotNow
from promptmill.batch.entry_trust import require_followable
from promptmill.batch.following import begin_batches, follow_batches, forget_batches, percent_of
from promptmill.batch.registry import Entry, register, registered, unregister
from promptmill.batch.session import (
    open_batches,
    stop_run,
    store_of,
    work_of_batches,
)
from promptmill.batch.status import describe, describe_line
from promptmill.batch.steering import end_orders, hear_orders, run_of_batches
from promptmill.batch.step import BatchWork
from promptmill.batch.timing import step_or_give_up
from promptmill.checkpoints.output_lease import OutputLease
from promptmill.checkpoints.output_turn import releasing, take_turn_at
from promptmill.errors import (
    InputChanged,
    Interrupted,
    LeaseLost,
    OutputInUse,
    PromptmillError,
    RunStopped,
    SetupError,
    StoppedByOrder,
    StorageFailed,
)
from promptmill.job.spec import Job
from promptmill.output.manifest import Manifest
from promptmill.runs.run import FinishedRun, PendingRun, Planning, Run, plan_run
from tasks.batch.looking import names_of, tell_of_submission
from tasks.run.answering import answering_visibly
from tasks.run.chunks import answer_rows
from tasks.run.deployed import close_if_deployed
from tasks.run.ending import ending
from tasks.run.logs import quiet_expected_errors
from tasks.run.output_turn import asking
from tasks.run.ownership import while_ours
from tasks.run.progress import show_progress, showing_lines
from tasks.run.publish import announce, announce_end, publish_output
from tasks.run.run_name import name_run
from tasks.server.credentials import load_credentials

log = logging.getLogger("promptmill")
Act = Callable[[str, Entry], Awaitable[dict[str, Any]]]
named_job: ContextVar[Job | None] = ContextVar("named_job", default=None)  # the user gave its job file to a command


@task(name="submit-batches", task_run_name="submit", cache_policy=NO_CACHE, persist_result=False)
async def submit_batches(run: PendingRun) -> BatchWork:
    """Submit as many rows as there is room for; continue with an earlier run's batches. Raises: RunStopped."""
    try:
        return await begin_batches(run)
    finally:
        tell_of_submission(run.prepared.job)


async def wait_for_batches(work: BatchWork, run: PendingRun) -> None:
    """Look at a run's batches until none can answer more rows, showing how far they are."""
    async with showing_lines(work.job.name) as show:
        await follow_batches(work, run, show, partial(load_credentials, work.job.provider))


async def hand_over(run: PendingRun) -> None:
    """Register a job, so that advance-batches looks after it."""
    await asyncio.to_thread(register, run.prepared.job, run.retry_failed, run.flow_run_ids)


async def finish_batches(work: BatchWork, run: PendingRun) -> FinishedRun:
    """Publish the batches' answers; first send the remaining rows one by one if the job says so."""
    async with answering_visibly(run, work_of_batches(work)) as engine:
        await answer_rows(engine)
    finished = await publish_output(run, engine)
    await forget_batches(work, engine)
    return finished


@task(name="advance-job", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
async def advance_job(name: str, entry: Entry) -> dict[str, Any]:
    """Move a registered job's batches one step, and publish it when they are over.

    If a job can't go on, announce its failure and remove it from the registry. If a storage or an input is away, or another
    run works on the job's output, the next step tries again.
    """
    del name
    try:
        turn = await while_ours(take_turn_at(store_of(entry.job).storage, replace(asking(), wait=False)))
    except OutputInUse as error:
        log.info("%s: the next step looks at it again: %s", entry.job.name, error)
        return describe(await _open(entry))
    async with releasing(turn) as lease:
        return await _advance_alone(entry, lease)


async def _advance_alone(entry: Entry, lease: OutputLease) -> dict[str, Any]:
    credentials = await load_credentials(entry.job.provider)

    @cache
    def plan() -> Run:
        ids = (*entry.flow_run_ids, str(flow_run.get_id()))
        planning = Planning(
            datetime.now(UTC).date(),
            retry_failed=entry.retry_failed,
            overwrite=True,
            flow_run_ids=ids,
            mode="batch",
        )
        run = plan_run(entry.job, credentials, planning)
        if not isinstance(run, PendingRun):
            return run
        return replace(run, lease=lease, steered=run_of_batches(run.prepared.store.storage))

    work = await asyncio.to_thread(open_batches, entry.job, credentials, plan, lease)
    if entry.is_attended(time.time()):
        return describe(work)
    if not work.ledger.state.started_at and not work.ledger.live:
        unregister(entry)  # somebody else published it
        return describe(work)
    if (stopped := await asyncio.to_thread(hear_orders, work)) is not None:
        return await _leave(work, entry, stopped)
    try:
        found = await _advance(work)
    except (StorageFailed, InputChanged, LeaseLost, NotNow, SetupError):
        raise  # the next step tries again; it may be back or fixed by then
    except PromptmillError:
        unregister(entry)
        raise
    if work.is_finished or not work.ledger.state.started_at:  # cancelled, or published
        unregister(entry)
    return found


async def _leave(work: BatchWork, entry: Entry, stopped: StoppedByOrder) -> dict[str, Any]:
    """Remove a stopped job from the registry; its batches go on, and the job's next run continues with them."""
    run = await asyncio.to_thread(work.plan)
    await asyncio.to_thread(stop_run, work, run, stopped)
    if isinstance(stopped.manifest, Manifest):
        await announce(run.prepared, stopped.manifest)
    log.info("%s: %s", entry.job.name, stopped)
    await asyncio.to_thread(end_orders, work)
    unregister(entry)
    return describe(work)


async def _advance(work: BatchWork) -> dict[str, Any]:
    """One step, and the job's end if it is reached."""
    try:
        await asyncio.to_thread(step_or_give_up, work)
    except RunStopped as error:
        run = await asyncio.to_thread(work.plan)
        async with ending(run):
            await asyncio.to_thread(stop_run, work, run, error)
            raise
    log.info("%s: %s", work.job.name, describe_line(work, time.time()))
    await show_progress(work.job.name, percent_of(work))
    if not work.is_finished:
        return describe(work)
    run = await asyncio.to_thread(work.plan)
    async with ending(run):
        if work.ledger.state.is_cancelled:
            stopped = Interrupted()
            await asyncio.to_thread(stop_run, work, run, stopped)
            if isinstance(stopped.manifest, Manifest):
                await announce(run.prepared, stopped.manifest)
            return describe(work)
        finished = await finish_batches(work, run) if isinstance(run, PendingRun) else run
        return await announce_end(finished)


@task(name="cancel-job", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
async def cancel_job(name: str, entry: Entry) -> dict[str, Any]:
    """End a registered job's batches at the provider; the next steps collect their answers."""
    del name
    work = await _open(entry)
    await asyncio.to_thread(work.cancel)
    return describe(work)


@task(name="describe-job", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
async def describe_job(name: str, entry: Entry) -> dict[str, Any]:
    """How far a registered job's batches are, by the ledger."""
    del name
    return describe(await _open(entry))


async def _open(entry: Entry) -> BatchWork:
    credentials = await load_credentials(entry.job.provider)

    def plan() -> Run:
        raise NotNow("the job is only looked at", 0.0, was_sent=False)

    return await asyncio.to_thread(open_batches, entry.job, credentials, plan)


async def each_job(act: Act, job_name: str | None) -> list[dict[str, Any]]:
    """The result of each job. Raises: the first job's error, after all had their turn; SetupError for an unknown name."""
    quiet_expected_errors()
    close_if_deployed()
    entries = await asyncio.to_thread(registered, job_name)
    await name_run(names_of([entry.job for entry in entries]))
    if not entries and job_name is not None:
        raise SetupError(
            f"no job {job_name!r} has batches in flight; batch-inference registers jobs "
            "(PROMPTMILL_STATE_URL). Check the name, or leave it out for all jobs."
        )
    found: list[dict[str, Any]] = []
    failed: list[Exception] = []
    for entry in entries:
        try:
            if not is_closed_process():  # a closed process opens only what the operator listed
                await asyncio.to_thread(require_followable, entry.job, is_ours=entry.is_ours, named=named_job.get())
            found.append(await act(entry.job.name, entry))
        except Exception as error:
            log.error("%s: %s", entry.job.name, error, exc_info=not isinstance(error, PromptmillError))
            failed.append(error)
    if failed:
        raise failed[0]
    return found
