"""One shard of a run, in whatever process carries it: its rows answered, and how it ended told to the run."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from promptmill.allowed_urls import close_to_unlisted
from promptmill.errors import Interrupted, PromptmillError, RunStopped, SetupError, StorageFailed
from promptmill.memory import spare_memory
from promptmill.output.manifest import Manifest
from promptmill.run.engine import Engine
from promptmill.run.run import PendingRun, end_share
from promptmill.sharding.folder import ShardFolder
from promptmill.sharding.plan import Outcome
from promptmill.sharding.split import open_share
from tasks.run.answering import answering_visibly
from tasks.run.chunks import answer_rows
from tasks.run.deployed import close_if_deployed
from tasks.run.ending import ending_in_order
from tasks.run.logs import quiet_expected_errors
from tasks.server.credentials import load_credentials

PULSE_SECONDS = 2.0  # between two looks
SILENCE_SECONDS = 60.0  # without a beat until the run that split is taken for dead


async def answer_share(plan_url: str, shard: int, attempt: int) -> dict[str, Any]:
    """The manifest of a shard as a flow run of its own, all of whose rows are answered.

    Raises: RunStopped (and its kin), SetupError (and its kin); the run that split hears of either.
    """
    async with ending_in_order():
        return await _answer(plan_url, shard, attempt, is_watched=False)


@task(name="answer-shard", task_run_name="shard {shard}", cache_policy=NO_CACHE, persist_result=False)
async def answer_share_task(plan_url: str, shard: int, attempt: int, is_deployed: bool = True) -> dict[str, Any]:
    """The same for a task runner that takes it elsewhere, where nobody could end it but the run that split."""
    if is_deployed:
        close_to_unlisted()
    return await _answer(plan_url, shard, attempt, is_watched=True)


async def _answer(plan_url: str, shard: int, attempt: int, is_watched: bool) -> dict[str, Any]:
    """Answer a shard's rows; however it ends, it is told. `is_watched`: it ends when the run that split does."""
    spare_memory()
    quiet_expected_errors()
    close_if_deployed()
    folder = await asyncio.to_thread(ShardFolder.at, plan_url)
    if await asyncio.to_thread(folder.is_taken_over, shard, attempt):
        raise RunStopped(
            f"attempt {attempt} at shard {shard} began after it was given up: attempt {attempt + 1} has the shard. Nothing "
            "was sent, and there is nothing to do."
        )
    engine: Engine | None = None
    try:
        run = await _open(folder, shard)
        async with answering_visibly(run) as engine, _watching(folder, engine) if is_watched else nullcontext():
            await answer_rows(engine)
    except (PromptmillError, asyncio.CancelledError) as error:
        reason = error if isinstance(error, PromptmillError) else Interrupted()
        with suppress(StorageFailed):  # the error that led here is the one to tell
            await _tell(folder, shard, attempt, Outcome(_manifest_of(error, engine), reason))
        raise
    finished = end_share(run, engine)
    await _tell(folder, shard, attempt, Outcome(finished.manifest, None))
    return finished.summary()


def _manifest_of(error: BaseException, engine: Engine | None) -> Manifest | None:
    """How far a shard came that ended with an error; a cancelled one says it by the reason of its stop."""
    stopped = error if isinstance(error, RunStopped) else None if engine is None else engine.stop.reason
    return stopped.manifest if stopped is not None and isinstance(stopped.manifest, Manifest) else None


async def _tell(folder: ShardFolder, shard: int, attempt: int, outcome: Outcome) -> None:
    await asyncio.to_thread(folder.write_outcome, shard, attempt, outcome)


async def _open(folder: ShardFolder, shard: int) -> PendingRun:
    plan = await asyncio.to_thread(folder.read_plan)
    if plan is None:
        raise SetupError(
            f"{folder.plan_url} isn't there or is no plan of shards; the run that split its dataset has ended. Start that "
            "run again (online-inference): shards are started by it."
        )
    credentials = await load_credentials(plan.job.provider)
    return await asyncio.to_thread(open_share, folder, plan, shard, credentials, (str(flow_run.get_id()),))


@asynccontextmanager
async def _watching(folder: ShardFolder, engine: Engine) -> AsyncGenerator[None]:
    """End the shard, keeping what it has, when the run that split ends or falls silent."""
    watcher = asyncio.create_task(_watch(folder, engine))
    try:
        yield
    finally:
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher


async def _watch(folder: ShardFolder, engine: Engine) -> None:
    last, silent = b"", 0.0  # no beat was heard yet
    while silent < SILENCE_SECONDS:
        with suppress(StorageFailed):  # away for a moment: as good as silent
            beat = await asyncio.to_thread(folder.pulse)
            if beat is None:
                break
            last, silent = beat, (0.0 if beat != last else silent)
        await asyncio.sleep(PULSE_SECONDS)
        silent += PULSE_SECONDS
    engine.stop.because(Interrupted())
