"""Carries out a planned run in this process: takes the output, answers the rows, publishes the output."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from promptmill.batch.live import refuse_rows_in_batches
from promptmill.checkpoints.output_turn import releasing, take_turn_at
from promptmill.limits.leased_bucket import Lessor
from promptmill.runs.engine import Engine
from promptmill.runs.holding import holding
from promptmill.runs.run import FinishedRun, PendingRun, publish_run
from promptmill.runs.showing import showing_lines
from promptmill.sharding.leftovers import end_strays_alone
from promptmill.standalone.answering import Alone, answer_rows_alone, answering_alone
from promptmill.standalone.side_by_side import Show, answer_side_by_side
from promptmill.storage import Storage

if TYPE_CHECKING:
    from promptmill.batch.step import BatchWork


async def run_alone(run: PendingRun, how: Alone) -> FinishedRun:
    """Carry out a run after no other run works on its output; if the previous run has done the work, end at once.

    Raises: OutputInUse; OutputError if that run left another job's output; SetupError while shards of an earlier run may be
    at work; RunStopped or a subclass.
    """
    turn = await take_turn_at(run.prepared.store.storage, how.asking)
    async with holding(run, turn, how.asking.what) as held:
        if isinstance(held, FinishedRun):
            return held
        await end_strays_alone(held.prepared.store, held.prepared.output)
        if held.mode == "batch":
            return await _run_by_batches(held, how)
        return await (_run_online(held, how) if held.prepared.job.deadline is None else _run_in_time(held, how))


async def sample_alone(run: PendingRun, target: Storage, how: Alone, lessor: Lessor | None = None) -> FinishedRun:
    """Answer a sample's rows and publish them to `target`, after no run works on the same output and could pay for them too.

    Raises: OutputInUse; RunStopped or a subclass; SetupError if `limits.shared` has no lessor.
    """
    turn = await take_turn_at(run.prepared.store.storage, how.asking)
    async with releasing(turn) as lease:
        held = replace(run, lease=lease)
        await asyncio.to_thread(refuse_rows_in_batches, held.prepared.store, held.prepared.output.url)
        async with answering_alone(held, how, lessor=lessor) as engine:
            await answer_rows_alone(engine)
        return await publish_run(held, engine, target, how.interruption.tell)


async def _run_online(run: PendingRun, how: Alone) -> FinishedRun:
    await asyncio.to_thread(refuse_rows_in_batches, run.prepared.store, run.prepared.output.url)
    elsewhere = await answer_side_by_side(
        run, partial(_showing, run), how.interruption.explaining, how.asking.what, how.look_up
    )
    async with answering_alone(run, how, elsewhere) as engine:
        await answer_rows_alone(engine)
    return await publish_run(run, engine, tell=how.interruption.tell)


async def _run_in_time(run: PendingRun, how: Alone) -> FinishedRun:
    """Answer rows by batches while there is time, and the rest online."""
    from promptmill.batch.in_time import Ways, answer_by_batches, end_in_time  # as below

    async def answer(part: PendingRun) -> Engine:
        async with answering_alone(part, how) as engine:
            await answer_rows_alone(engine)
        return engine

    found = await answer_by_batches(run, Ways(answer, _follow, how.asking.tell))
    async with answering_alone(run, how, found.elsewhere) as engine:
        await answer_rows_alone(engine)
    finished = await publish_run(run, engine, tell=how.interruption.tell)
    await end_in_time(found, run, engine)
    return finished


@asynccontextmanager
async def _showing(run: PendingRun) -> AsyncGenerator[Show]:
    """Log a line about work that happens elsewhere."""
    with showing_lines(run.prepared.job.name) as show_line:

        async def show(line: str, percent: float) -> None:
            del percent
            show_line(line)

        yield show


async def _run_by_batches(run: PendingRun, how: Alone) -> FinishedRun:
    from promptmill.batch.following import begin_batches, forget_batches  # these modules import openai's client
    from promptmill.batch.session import work_of_batches

    work = await begin_batches(run)
    await _follow(work, run)
    async with answering_alone(run, how, work_of_batches(work)) as engine:
        await answer_rows_alone(engine)
    finished = await publish_run(run, engine, tell=how.interruption.tell)
    await forget_batches(work, engine)
    return finished


async def _follow(work: "BatchWork", run: PendingRun) -> None:
    from promptmill.batch.following import follow_batches  # as above

    async with _showing(run) as show:
        await follow_batches(work, run, show)
