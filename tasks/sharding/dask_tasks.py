"""Runs shards as tasks on a Dask cluster: `task_runner: dask`.

Dask's own setting DASK_SCHEDULER_ADDRESS names the cluster; without it, the run makes one on this machine. If a worker dies,
Dask runs its task again elsewhere. Dask can't end a task that is running, and neither can a run that has died. So a run
writes a pulse beside its shards' other objects, and a shard that misses the pulse ends.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

from promptmill.allowed_urls import is_closed_process
from promptmill.errors import SetupError, StorageFailed
from promptmill.sharding.folder import ShardFolder
from promptmill.sharding.leftovers import PULSE_SECONDS
from promptmill.sharding.plan import Ended, ShardPlan
from tasks.sharding.flow_runs import END_OF_STATE
from tasks.sharding.shard import answer_share_task

try:
    import dask.config
    from prefect_dask.task_runners import DaskTaskRunner, PrefectDaskFuture
except ImportError as error:
    raise SetupError(
        "task_runner is 'dask', and prefect-dask isn't installed here. Install Promptmill with the extra `dask`, or run the "
        "shards on Prefect workers: task_runner: local."
    ) from error


class DaskShards:
    """The shards of one run, as tasks on a cluster."""

    adopts = False  # if the run dies, its shards miss the pulse and end

    def __init__(self, runner: DaskTaskRunner) -> None:
        self.all_ids: list[str] = []
        self.waiting = 0  # the cluster doesn't say how many wait
        self._runner = runner
        self._futures: dict[int, PrefectDaskFuture[Any]] = {}
        self._folder: ShardFolder | None = None
        self._beating: asyncio.Task[None] | None = None

    async def start(self, folder: ShardFolder, plan: ShardPlan, shard: int, attempt: int) -> None:
        """Hand an attempt to the cluster."""
        del plan
        if self._beating is None:
            await asyncio.to_thread(folder.beat, 0)
            self._folder, self._beating = folder, asyncio.create_task(_beat(folder))
        parameters = {
            "plan_url": folder.plan_url,
            "shard": shard,
            "attempt": attempt,
            "is_deployed": is_closed_process(),
        }
        self._futures[shard] = self._runner.submit(answer_share_task, parameters)

    async def ended(self) -> dict[int, Ended]:
        """The shards whose latest attempt has ended; if the cluster gave up a task, its shard has crashed."""
        return {shard: _end(future) for shard, future in self._futures.items() if future.wrapped_future.done()}

    async def cancel(self) -> None:
        """Stop the pulse, so that the shards end."""
        if self._beating is not None and self._folder is not None:
            self._beating.cancel()
            await asyncio.wait([self._beating])
            await asyncio.to_thread(self._folder.stop_beating)


def _end(future: PrefectDaskFuture[Any]) -> Ended:
    wrapped = future.wrapped_future
    if wrapped.status != "finished":
        return "crashed"
    return END_OF_STATE.get(wrapped.result().type, "crashed")


async def _beat(folder: ShardFolder) -> None:
    number = 0
    while True:
        await asyncio.sleep(PULSE_SECONDS)
        number += 1
        with suppress(StorageFailed):
            await asyncio.to_thread(folder.beat, number)


@asynccontextmanager
async def dask_shards() -> AsyncGenerator[DaskShards]:
    """Tasks on a cluster that answer shards; a cluster that was made for the run ends with it."""
    with DaskTaskRunner(address=dask.config.get("scheduler-address", None)) as runner:
        carrier = DaskShards(runner)
        try:
            yield carrier
        finally:
            await carrier.cancel()
