"""A run that holds its output, so that no other run pays for the same rows meanwhile."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

from promptmill.checkpoints.output_turn import Turn, releasing
from promptmill.runs.run import PendingRun, Run, look_again


@asynccontextmanager
async def holding(run: PendingRun, turn: Turn) -> AsyncGenerator[Run]:
    """The run with its hold on the output; finished, if the run that it waited for has done all of its work.

    Raises: OutputError when that run left another job's output, which this one may not replace.
    """
    async with releasing(turn) as lease:
        held = replace(run, lease=lease)
        yield await asyncio.to_thread(look_again, held) if turn.has_waited else held
