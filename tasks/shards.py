"""A run in shards: split, started wherever there is room, followed until all have ended, and tried again when they die.

The run itself stays in charge: it alone approves, splits the money, and publishes; what no shard has answered in the end
(a shard may have spent its part of the budget while others left some of theirs) it answers itself.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from promptmill.errors import RunStopped
from promptmill.runner import Run
from promptmill.shard_folder import ShardFolder, folders
from promptmill.shards import ShardPlan
from promptmill.splitting import split_run
from promptmill.storage import STORAGE_ERRORS
from promptmill.store import Store
from tasks.following import Carrier, Following
from tasks.progress import UNSHOWN
from tasks.shard_runs import shard_runs
from tasks.turns import output_digest

log = logging.getLogger("promptmill")


async def answer_in_shards(run: Run) -> None:
    """Have other processes answer the rows of a run that is to be split; any other run is left as it is.

    Raises: RunStopped (and its kin), with the run's manifest; SetupError when there is nobody to carry shards.
    """
    job = run.prepared.job
    if job.shards == 1 and job.task_runner == "local":
        return
    async with _carrier(run) as carrier:
        begun = await _begin(run, carrier)
        if begun is None:
            return
        following = Following(run, carrier, *begun)
        try:
            await following.until_all_ended()
        except RunStopped as error:
            await following.end()
            run.manifest = following.manifest(error)
            raise
        except BaseException:
            with suppress(*UNSHOWN):
                await carrier.cancel()
            raise
        finally:
            run.shards = following.manifests
            run.flow_run_ids = (*run.flow_run_ids, *carrier.all_ids)
            with suppress(
                *STORAGE_ERRORS
            ):  # what is left is removed by the next run; it goes on with it if this one died
                await asyncio.to_thread(begun[0].remove)


@asynccontextmanager
async def _carrier(run: Run) -> AsyncGenerator[Carrier]:
    job = run.prepared.job
    if job.task_runner == "dask":
        from tasks.dask_shards import dask_shards

        async with dask_shards(run.prepared.store) as carrier:
            yield carrier
        return
    async with shard_runs(job.shards, f"promptmill-shards-of-{output_digest(job.output.url)}") as carrier:
        yield carrier


async def _begin(run: Run, carrier: Carrier) -> tuple[ShardFolder, ShardPlan] | None:
    """The shards to follow: those of this very run if it died while they were at work, else new ones."""
    assert run.preflight is not None  # noqa: S101 - it is pending
    store, run_id = run.prepared.store, run.flow_run_ids[0]
    left = await asyncio.to_thread(folders, store)
    for folder in left:
        plan = await asyncio.to_thread(folder.read_plan) if folder.name.startswith(run_id) and carrier.adopts else None
        if plan is not None and plan.is_of(run.prepared.capped_job, run.preflight.plan, run.retry_before):
            await carrier.end_strays(folder.plan_url)
            run.retry_since = plan.retry_before
            log.info("%d shards that were begun go on", len(plan.bounds))
            return folder, plan
    await carrier.end_strays(None)
    for folder in left:
        await asyncio.to_thread(folder.remove)
    return await asyncio.to_thread(_split, run, store, f"{run_id}-{secrets.token_hex(4)}")


def _split(run: Run, store: Store, name: str) -> tuple[ShardFolder, ShardPlan] | None:
    plan = split_run(run)
    if plan is None:
        return None
    folder = ShardFolder(store, name)
    folder.write_plan(plan)
    log.info("%d shards of about %d chunks each", len(plan.bounds), -(-len(plan.chunks) // len(plan.bounds)))
    return folder, plan
