"""Runs one shard in its own process: answers the shard's rows, and writes down how it ended."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import replace
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from promptmill.allowed_urls import close_to_unlisted
from promptmill.checkpoints.output_turn import Asking, Turn, releasing
from promptmill.checkpoints.shard_lease import ShardLease
from promptmill.errors import Interrupted, PromptmillError, RunStopped, SetupError, StorageFailed
from promptmill.memory import spare_memory
from promptmill.output.manifest import Manifest
from promptmill.public_url import public_url
from promptmill.runs.engine import Engine
from promptmill.runs.run import PendingRun, end_share
from promptmill.sharding.folder import ShardFolder
from promptmill.sharding.leftovers import PULSE_SECONDS
from promptmill.sharding.plan import Outcome
from promptmill.sharding.split import open_share
from tasks.run.answering import answering_visibly
from tasks.run.chunks import answer_rows
from tasks.run.deployed import close_if_deployed
from tasks.run.ending import ending_in_order
from tasks.run.logs import quiet_expected_errors
from tasks.server.credentials import load_credentials

_SILENCE_SECONDS = 60.0  # without a new pulse; then the shard takes the run that split for dead


async def answer_share(plan_url: str, shard: int, attempt: int) -> dict[str, Any]:
    """Answer all rows of a shard that is a flow run itself; returns its manifest.

    Raises: RunStopped, SetupError or a subclass; the run that split finds either in the shard's outcome.
    """
    async with ending_in_order():
        return await _answer(plan_url, shard, attempt, is_watched=False)


@task(name="answer-shard", task_run_name="shard {shard}", cache_policy=NO_CACHE, persist_result=False)
async def answer_share_task(plan_url: str, shard: int, attempt: int, is_deployed: bool = False) -> dict[str, Any]:
    """Answer all rows of a shard that is a task on a cluster, which only the run that split can end."""
    if is_deployed:
        close_to_unlisted()
    return await _answer(plan_url, shard, attempt, is_watched=True)


async def _answer(plan_url: str, shard: int, attempt: int, is_watched: bool) -> dict[str, Any]:
    """Answer a shard's rows and write its outcome in any case. `is_watched`: end when the run that split ends."""
    spare_memory()
    quiet_expected_errors()
    close_if_deployed()
    folder = await asyncio.to_thread(ShardFolder.at, plan_url)
    if await asyncio.to_thread(folder.has_later_attempt, shard, attempt):
        raise RunStopped(
            f"attempt {attempt} at shard {shard} began too late: attempt {attempt + 1} has the shard. Nothing was sent, and "
            "there is nothing to do."
        )
    engine: Engine | None = None
    try:
        run = await _open(folder, shard)
        async with (
            _holding(run, folder, shard) as run,
            answering_visibly(run) as engine,
            watching_run(folder, engine) if is_watched else nullcontext(),
        ):
            await answer_rows(engine)
    except (PromptmillError, asyncio.CancelledError) as error:
        reason = error if isinstance(error, PromptmillError) else Interrupted()
        with suppress(StorageFailed):  # raise the first error instead
            await _tell(folder, shard, attempt, Outcome(_manifest_of(error, engine), reason))
        raise
    finished = end_share(run, engine)
    await _tell(folder, shard, attempt, Outcome(finished.manifest, None))
    return finished.summary()


def _manifest_of(error: BaseException, engine: Engine | None) -> Manifest | None:
    """The manifest of a shard that ended with an error; a cancelled shard has it in the reason of its stop."""
    stopped = error if isinstance(error, RunStopped) else None if engine is None else engine.stop.reason
    return stopped.manifest if stopped is not None and isinstance(stopped.manifest, Manifest) else None


async def _tell(folder: ShardFolder, shard: int, attempt: int, outcome: Outcome) -> None:
    await asyncio.to_thread(folder.write_outcome, shard, attempt, outcome)


async def _open(folder: ShardFolder, shard: int) -> PendingRun:
    plan = await asyncio.to_thread(folder.read_plan)
    if plan is None:
        raise SetupError(
            f"{public_url(folder.plan_url)} isn't there or is no plan of shards; the run that split its dataset has "
            "ended. Start that run again (online-inference): shards are started by it."
        )
    credentials = await load_credentials(plan.job.provider)
    return await asyncio.to_thread(open_share, folder, plan, shard, credentials, (str(flow_run.get_id()),))


@asynccontextmanager
async def _holding(run: PendingRun, folder: ShardFolder, shard: int) -> AsyncGenerator[PendingRun]:
    """Hold the shard's lease while the block lasts: no other run sends before this shard has stopped.

    Raises: LeaseLost if its run no longer holds the output; StorageFailed.
    """
    asking = Asking(folder.lease_name(shard), run_id=folder.run_id)
    lease = await asyncio.to_thread(ShardLease(folder.storage, asking.holder()).begin)
    async with releasing(Turn(lease, has_waited=False)):
        yield replace(run, lease=lease)


@asynccontextmanager
async def watching_run(folder: ShardFolder, engine: Engine) -> AsyncGenerator[None]:
    """End the shard, and keep its answers, when the run that split ends or falls silent."""
    watcher = asyncio.create_task(_watch(folder, engine))
    try:
        yield
    finally:
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher


async def _watch(folder: ShardFolder, engine: Engine) -> None:
    last, silent = b"", 0.0  # no pulse was seen yet
    while silent < _SILENCE_SECONDS:
        with suppress(StorageFailed):  # a storage that is away counts as silence
            beat = await asyncio.to_thread(folder.pulse)
            if beat is None:
                break
            last, silent = beat, (0.0 if beat != last else silent)
        await asyncio.sleep(PULSE_SECONDS)
        silent += PULSE_SECONDS
    engine.stop.because(Interrupted())
