"""A run that holds its output, so that no other run pays for the same rows meanwhile."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

from promptmill.checkpoints.output_turn import Turn, releasing
from promptmill.planning.pinned_versions import keep_versions
from promptmill.runs.cached_answers import take_cached
from promptmill.runs.run import PendingRun, Run, look_again


@asynccontextmanager
async def holding(run: PendingRun, turn: Turn) -> AsyncGenerator[Run]:
    """The run with its hold on the output and with what its cache answers.

    It is finished, if the run that it waited for has done all of its work.

    Raises: OutputError when that run left another job's output, which this one may not replace; StorageFailed.
    """
    async with releasing(turn) as lease:
        held = replace(run, lease=lease)
        found = await asyncio.to_thread(look_again, held) if turn.has_waited else held
        if isinstance(found, PendingRun):
            await asyncio.to_thread(_prepare_checkpoints, found)
        yield found


def _prepare_checkpoints(run: PendingRun) -> None:
    """Keep what later runs need to go on with this one's rows. Blocks. Raises: StorageFailed."""
    keep_versions(run.prepared.store.storage, run.prepared.digest, run.prepared.dataset.versions)
    take_cached(run.prepared.store, run.preflight)
