"""A run that holds its output, so that no other run pays for the same rows meanwhile; people can tell it what to do."""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import anyio

from promptmill.checkpoints.output_turn import Turn, releasing
from promptmill.errors import Interrupted, StoppedByOrder, StorageFailed
from promptmill.job.absolute import absolute_job
from promptmill.job.splitting import most_parts
from promptmill.output.manifest import public_job
from promptmill.planning.kept_size import keep_chunk_rows
from promptmill.planning.pinned_versions import keep_versions
from promptmill.runs.cached_answers import take_cached
from promptmill.runs.run import PendingRun, Run, look_again
from promptmill.seals import seal
from promptmill.steering.order_files import OrderFiles, SteeredRun


@asynccontextmanager
async def holding(run: PendingRun, turn: Turn, what: str = "the run") -> AsyncGenerator[Run]:
    """The run with its hold on the output and with what its cache answers; `what` is how people call it.

    It is finished, if the run that it waited for has done all of its work.

    Raises: OutputError when that run left another job's output, which this one may not replace; StorageFailed.
    """
    async with releasing(turn) as lease:
        held = replace(run, lease=lease)
        found = await asyncio.to_thread(look_again, held) if turn.has_waited else held
        if not isinstance(found, PendingRun):
            yield found
            return
        await asyncio.to_thread(_prepare_checkpoints, found)
        files = OrderFiles(found.prepared.store.storage)
        steered = await asyncio.to_thread(files.begin, _as_steered(found, what))
        is_over = found.mode == "online"  # batches go on without a process; they are over once they are published
        try:
            yield replace(found, steered=steered)
        except (Interrupted, asyncio.CancelledError) as error:
            may_go_on = steered.flow_run_id != "" and not isinstance(error, StoppedByOrder)  # as another attempt
            is_over = is_over and not may_go_on
            raise
        finally:
            if is_over:
                with anyio.CancelScope(shield=True), suppress(StorageFailed):
                    await asyncio.to_thread(files.end, steered)


def _prepare_checkpoints(run: PendingRun) -> None:
    """Keep what later runs need to go on with this one's rows. Blocks. Raises: StorageFailed."""
    keep_versions(run.prepared.store.storage, run.prepared.digest, run.prepared.dataset.versions)
    keep_chunk_rows(run.prepared, run.preflight.plan.chunk_rows)
    take_cached(run.prepared.store, run.preflight)


def _as_steered(run: PendingRun, what: str) -> SteeredRun:
    """The run as people who tell it what to do see it."""
    prepared = run.prepared
    approved, job = prepared.approved, public_job(absolute_job(prepared.job))
    return SteeredRun(
        token=secrets.token_hex(6),
        what=what,
        mode=run.mode,
        shards=1 if run.mode == "batch" else most_parts(prepared.job.processes, prepared.job.shards),
        rows=run.preflight.plan.expected_rows,
        started_at=run.started_at,
        budget_usd=prepared.budget_usd,
        approved_usd=None if approved is None else approved.cap_usd,
        job=job,
        seal=seal(job),
        flow_run_id=run.flow_run_ids[0] if run.flow_run_ids else "",
    )
