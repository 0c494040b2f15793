"""Shards as tasks on a Dask cluster, for those who have one: `task_runner: dask`.

The cluster is the one that Dask's own setting names (DASK_SCHEDULER_ADDRESS), else one that is made on this machine for
the run. Dask itself runs a task again elsewhere when its worker dies. It can't end one that is running, and a run that
dies can't either: therefore a run beats a pulse beside its shards' other objects, and a shard that misses it ends.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

from promptmill.allowed_urls import is_closed_process
from promptmill.errors import SetupError, StorageFailed
from promptmill.sharding.folder import ShardFolder
from promptmill.sharding.plan import Ended, ShardPlan
from tasks.sharding.shard import PULSE_SECONDS, answer_share_task

try:
    import dask.config
    from prefect_dask.task_runners import DaskTaskRunner, PrefectDaskFuture
except ImportError as error:
    raise SetupError(
        "task_runner is 'dask', and prefect-dask isn't installed here. Install Promptmill with the extra `dask`, or run the "
        "shards on Prefect workers: task_runner: local."
    ) from error

ENDS: dict[str, Ended] = {"COMPLETED": "completed", "FAILED": "failed", "CRASHED": "crashed", "CANCELLED": "cancelled"}


class DaskShards:
    """The shards of one run, as tasks on a cluster."""

    adopts = False  # what a dead run started ends

    def __init__(self, runner: DaskTaskRunner) -> None:
        self.all_ids: list[str] = []
        self.waiting = 0  # the cluster doesn't say
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
        """The shards whose latest attempt has ended; a task that the cluster gave up has crashed."""
        return {shard: _end(one) for shard, one in self._futures.items() if one.wrapped_future.done()}

    async def cancel(self) -> None:
        """Let the shards miss the pulse."""
        if self._beating is not None and self._folder is not None:
            self._beating.cancel()
            await asyncio.wait([self._beating])
            await asyncio.to_thread(self._folder.stop_beating)


def _end(future: PrefectDaskFuture[Any]) -> Ended:
    wrapped = future.wrapped_future
    if wrapped.status != "finished":
        return "crashed"
    return ENDS.get(wrapped.result().type.value, "crashed")


async def _beat(folder: ShardFolder) -> None:
    number = 0
    while True:
        await asyncio.sleep(PULSE_SECONDS)
        number += 1
        with suppress(StorageFailed):
            await asyncio.to_thread(folder.beat, number)


@asynccontextmanager
async def dask_shards() -> AsyncGenerator[DaskShards]:
    """Who runs shards on a cluster; one that was made for the run ends with it."""
    with DaskTaskRunner(address=dask.config.get("scheduler-address", None)) as runner:
        carrier = DaskShards(runner)
        try:
            yield carrier
        finally:
            await carrier.cancel()
