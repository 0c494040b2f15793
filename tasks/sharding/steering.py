"""Orders to a run in shards: the shards carry them out; the run that split hears of a stop, and shares a budget out."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from promptmill.errors import PromptmillError, RunStopped
from promptmill.runs.run import PendingRun
from promptmill.runs.steered import listener_of
from promptmill.sharding.folder import ShardFolder
from promptmill.sharding.plan import ShardPlan
from promptmill.sharding.steering import share_out
from promptmill.steering.listening import LOOK_SECONDS, Listener
from promptmill.steering.orders import Steering
from tasks.sharding.supervisor import Following, log


async def while_steered(
    run: PendingRun, following: Following, folder: ShardFolder, plan: ShardPlan, work: Coroutine[Any, Any, None]
) -> None:
    """Carry out work that sends nothing itself until it ends, or until somebody stops the run. Raises: StoppedByOrder."""
    listener = listener_of(run)
    task = asyncio.create_task(work)
    try:
        while listener is not None and not task.done():
            await _look(run, listener, following, folder, plan)
            if listener.steering.stop is not None:
                raise listener.steering.stop
            await asyncio.wait([task], timeout=LOOK_SECONDS)
        await task
    except RunStopped:  # a shard heard the order to stop before this process did: the manifest lists it all the same
        if listener is not None:
            await _look(run, listener, following, folder, plan)
        raise
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _look(
    run: PendingRun, listener: Listener, following: Following, folder: ShardFolder, plan: ShardPlan
) -> None:
    async def obey(steering: Steering) -> None:
        following.steering = steering

    try:
        await listener.look(obey)
        await asyncio.to_thread(share_out, run, listener, folder, plan, following.done)
    except PromptmillError as error:  # the next look asks again
        log.warning("%s", error)
