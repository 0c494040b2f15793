"""Takes a flow run's lease on its output, after its turn among the runs of its Prefect server.

The server's runs queue up in order (one_at_a_time.py). The lease beside the checkpoints keeps out runs that this server
doesn't know: of another Prefect home, of a machine with its own server, of a notebook, or of a sample.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial

from prefect.runtime import flow_run

from promptmill.batch.live import refuse_rows_in_batches
from promptmill.checkpoints.output_turn import Asking, take_turn_at
from promptmill.runs.holding import holding
from promptmill.runs.run import FinishedRun, PendingRun, Run
from tasks.run.ownership import while_ours

may_wait: ContextVar[bool] = ContextVar(
    "may_wait", default=True
)  # whether to wait for other runs; `promptmill run --no-wait` sets it


def asking() -> Asking:
    """How this flow run asks for its output."""
    run_id = str(flow_run.get_id())
    return Asking(f"the flow run {flow_run.get_name()!r} ({run_id})", wait=may_wait.get(), run_id=run_id)


@asynccontextmanager
async def holding_output(run: Run, end_shards: Callable[[Run], Awaitable[None]]) -> AsyncGenerator[Run]:
    """Hold the output for the run while the block lasts; the run is finished if the previous run has done its work.

    `end_shards` ends the shards that other runs over the output left at work on this Prefect server.

    Raises: CancelledThere, TakenForDead, Deleted if the run no longer belongs to this process; OutputInUse; OutputError if
    the previous run left the output of another job; LeaseLost, from any sender in the block.
    """
    if isinstance(run, FinishedRun):
        yield run
        return
    turn = await while_ours(take_turn_at(run.prepared.store.storage, asking(), end_shards=partial(end_shards, run)))
    async with holding(run, turn, asking().what) as held:
        if isinstance(held, PendingRun) and held.mode == "online" and held.prepared.job.deadline is None:
            await asyncio.to_thread(refuse_rows_in_batches, held.prepared.store, held.prepared.output.url)
        yield held
