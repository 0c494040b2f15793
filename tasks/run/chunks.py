"""Runs chunks as Prefect tasks on the flow's own event loop, so that one client and one limiter serve them all.

Prefect would give a submitted async task an event loop of its own, where it could share neither (prefect 3.8.8).
"""

from dataclasses import asdict
from typing import Any

import pyarrow as pa
from prefect import task
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, TaskRun
from prefect.exceptions import ObjectNotFound
from prefect.tasks import Task

from promptmill.errors import PromptmillError, StorageFailed
from promptmill.planning.plan import Chunk
from promptmill.runs.chunk import complete_chunk
from promptmill.runs.chunk_loop import drive_chunks
from promptmill.runs.chunk_record import record_chunk
from promptmill.runs.engine import Engine
from tasks.prefect_internals.result_links import Lent, forget_results, lending, unsearched
from tasks.server.checkpoint_storage import SERIALIZER, checkpoint_key, checkpoint_storage
from tasks.server.outages import CALL_ERRORS

_RETRY_DELAYS_SECONDS = [5.0, 30.0]
_TAG = "promptmill"  # a platform team may set Prefect's own limits on it, and on promptmill-<job>, before a run


async def _is_worth_retrying(task: Task[Any, Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Retry after a fault of the storage or the worker, but not if the run was stopped or the job is wrong."""
    del task, task_run
    error = await state.result(raise_on_failure=False)  # pyright: ignore[reportGeneralTypeIssues]
    return isinstance(error, StorageFailed) or not isinstance(error, PromptmillError)


@task(
    name="complete-chunk",
    task_run_name="rows {label}",
    retries=len(_RETRY_DELAYS_SECONDS),
    retry_delay_seconds=_RETRY_DELAYS_SECONDS,
    retry_condition_fn=_is_worth_retrying,
    cache_key_fn=checkpoint_key,
    result_serializer=SERIALIZER,
    persist_result=True,
    cache_result_in_memory=False,
)
async def answer_chunk(
    label: str, engine: Engine, chunk: Chunk, table: Lent[pa.Table], is_finished: bool
) -> dict[str, Any]:
    """Answer every row of a chunk; `table` has its rows, or its answers if an earlier run finished it."""
    del label
    return asdict(record_chunk(chunk, table.value) if is_finished else await complete_chunk(engine, chunk, table.value))


async def _limited_tags(*tags: str) -> list[str]:
    """The tags that have a limit; all tags if the server doesn't answer.

    Prefect asks its server at each task run whether there is a limit on the task's tags (prefect 3.8.8, task_engine.py):
    with a tag that nobody limits, no chunk would start while the server is away, and after a minute the run would fail.
    """
    found: list[str] = []
    async with get_client() as client:
        for tag in tags:
            try:
                await client.read_global_concurrency_limit_by_name(f"tag:{tag}")
            except ObjectNotFound:
                continue
            except CALL_ERRORS:
                pass  # there may be one
            found.append(tag)
    return found


async def answer_rows(engine: Engine) -> None:
    """Answer every row of the plan, chunk by chunk. Raises: RunStopped or a subclass if the run ends early."""
    storage, tags = await checkpoint_storage(), await _limited_tags(_TAG, f"{_TAG}-{engine.job.name}")
    cached = answer_chunk.with_options(result_storage=storage, tags=tags)
    fresh = cached.with_options(refresh_cache=True)  # this chunk has work to do, whatever its record says

    async def reuse(engine: Engine, chunk: Chunk, answers: pa.Table) -> None:
        if not engine.elsewhere.are_chunks_recorded:
            with lending(answers) as table:
                await cached(chunk.label, unsearched(engine), unsearched(chunk), table, is_finished=True)
            forget_results()

    async def complete(engine: Engine, chunk: Chunk, rows: pa.Table) -> None:
        with lending(rows) as table:
            await fresh(chunk.label, unsearched(engine), unsearched(chunk), table, is_finished=False)
        forget_results()

    await drive_chunks(engine, reuse, complete)
