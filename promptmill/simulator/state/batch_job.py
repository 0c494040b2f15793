"""A batch under way: the one mutable holder of its current value, and the way to interrupt its waits."""

import asyncio
import time
from dataclasses import dataclass, field

from promptmill.simulator.options import SimulatorOptions
from promptmill.simulator.state.batch import Batch, BatchStatus, move


@dataclass(slots=True)
class BatchJob:
    """A batch and what its worker needs to know beside it."""

    batch: Batch
    ordinal: int  # 1 = the first batch since the start or the last reset
    queued_tokens: int = 0  # held against the queue's limit until the batch is over
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    def move(self, status: BatchStatus) -> None:
        """Go to the next status, now."""
        self.batch = move(self.batch, status, int(time.time()))

    def cancel(self) -> None:
        """Go to `cancelling`; the worker stops at its next wait. Raises: ValueError where that is no next status."""
        self.move("cancelling")
        self.cancelled.set()

    async def pause_until(self, moment: float) -> bool:
        """Wait until a monotonic time, at least for one turn of the event loop; true, and at once, if cancelled."""
        seconds = moment - time.monotonic()
        if seconds <= 0 or self.cancelled.is_set():
            await asyncio.sleep(0)
            return self.cancelled.is_set()
        try:
            async with asyncio.timeout(seconds):
                return await self.cancelled.wait()
        except TimeoutError:
            return False


def is_expiring(job: BatchJob, options: SimulatorOptions) -> bool:
    """Whether this batch is one that doesn't end in time."""
    if options.batch_expire_first > 0:
        return job.ordinal <= options.batch_expire_first
    return options.expire_ratio > 0
