"""Answers a run in shards: other processes answer its rows, and this process supervises them until the last has ended.

The run itself stays in charge: it alone asks for approval, splits the budget, and publishes. It also answers the rows that
no shard answered: one shard may have spent its part of the budget while others left some of theirs.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from promptmill.checkpoints.store import Store
from promptmill.errors import RunStopped
from promptmill.runs.elsewhere import NOTHING_ELSEWHERE, Elsewhere
from promptmill.runs.run import PendingRun
from promptmill.sharding.folder import ShardFolder, folders
from promptmill.sharding.plan import ShardPlan
from promptmill.sharding.split import split_run
from promptmill.sharding.steering import while_steered
from promptmill.storage import STORAGE_ERRORS
from tasks.run.ownership import TakenForDead, while_ours
from tasks.server.outages import CALL_ERRORS
from tasks.sharding.flow_runs import shard_runs
from tasks.sharding.leftovers import end_strays, shards_tag
from tasks.sharding.processes import answer_in_processes
from tasks.sharding.supervisor import Carrier, Following
from tasks.sharding.while_held import while_held

log = logging.getLogger("promptmill")


async def answer_in_shards(run: PendingRun) -> Elsewhere:
    """Answer a run in shards, if its job asks for them; returns what the shards did.

    Raises: RunStopped or a subclass, with the run's manifest; SetupError if there is no server or cluster for shards.
    """
    job = run.prepared.job
    if job.shards == 1 and job.task_runner == "local":
        await end_strays(run)
        return await answer_in_processes(run)
    async with _carrier(run) as carrier:
        begun = await _begin(run, carrier)
        if begun is None:
            return NOTHING_ELSEWHERE
        following = Following(run, carrier, *begun)
        try:
            work = while_steered(run, following, *begun, following.until_all_ended())
            await while_ours(while_held(run, work))
        except TakenForDead:  # the process that goes on with this run adopts its shards
            raise
        except RunStopped as error:
            await following.end()
            following.tell_how_far(error)
            await _forget(begun[0])
            raise
        except BaseException:
            with suppress(*CALL_ERRORS):
                await carrier.cancel()
            await _forget(begun[0])
            raise
        await _forget(begun[0])
        return following.work


async def _forget(folder: ShardFolder) -> None:
    """Remove a run's shards; if that fails, the next run removes them."""
    with suppress(*STORAGE_ERRORS):
        await asyncio.to_thread(folder.remove)


@asynccontextmanager
async def _carrier(run: PendingRun) -> AsyncGenerator[Carrier]:
    if run.prepared.job.task_runner == "dask":
        from tasks.sharding.dask_tasks import dask_shards

        async with dask_shards() as carrier:
            yield carrier
        return
    async with shard_runs(run.prepared.job.shards, shards_tag(run)) as carrier:
        yield carrier


async def _begin(run: PendingRun, carrier: Carrier) -> tuple[ShardFolder, ShardPlan] | None:
    """The shards to follow: those of this run if it died while they were at work, else new ones; None = no shards."""
    store, run_id = run.prepared.store, run.flow_run_ids[0]
    for folder in await asyncio.to_thread(folders, store):
        plan = await asyncio.to_thread(folder.read_plan) if folder.name.startswith(run_id) and carrier.adopts else None
        if plan is not None and plan.is_of(run.prepared.capped_job, run.preflight.plan, run.again):
            await end_strays(run, kept=folder.plan_url)
            log.info("this run goes on with the %d shards that it began before", len(plan.bounds))
            return folder, plan
    await end_strays(run)
    return await asyncio.to_thread(_split, run, store, f"{run_id}-{secrets.token_hex(4)}")


def _split(run: PendingRun, store: Store, name: str) -> tuple[ShardFolder, ShardPlan] | None:
    plan = split_run(run)
    if plan is None:
        return None
    folder = ShardFolder(store, name)
    folder.write_plan(plan)
    log.info("%d shards of about %d chunks each", len(plan.bounds), -(-len(plan.chunks) // len(plan.bounds)))
    return folder, plan
