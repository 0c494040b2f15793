"""All chunks of a run, a few at a time: first those that an earlier run finished, then the rest in input order.

The loop reads the input once, in order, and holds only the rows of the chunks under way (admission.py). The caller says how
a chunk is completed: by a Prefect task in the flows, by a plain call in a notebook.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pyarrow as pa

from promptmill.errors import Interrupted, RunStopped
from promptmill.planning.plan import Chunk, needed_columns
from promptmill.planning.rows import read_chunks
from promptmill.runs.engine import Engine

CompleteChunk = Callable[[Engine, Chunk, pa.Table], Awaitable[object]]
_REUSED_AT_ONCE = 8


async def drive_chunks(engine: Engine, reuse: CompleteChunk, complete: CompleteChunk) -> None:
    """Answer every row of the plan: `reuse` gets the answers of a finished chunk, `complete` the rows of any other.

    Raises: RunStopped or a subclass when the run ended early; what was answered is saved.
    """
    pending: list[Chunk] = []
    await _run_bounded(_finished(engine, reuse, pending), lambda running: running < _REUSED_AT_ONCE, engine)
    engine.kept.warn_of_damage()
    pending.sort(key=lambda chunk: chunk.index)
    if pending and engine.stop.reason is None:
        await _run_bounded(_started(engine, complete, pending), lambda _: engine.admission.has_room, engine)
    if engine.stop.reason is not None:
        raise engine.stop.reason


async def _finished(engine: Engine, reuse: CompleteChunk, pending: list[Chunk]) -> AsyncIterator[Awaitable[Any]]:
    """A piece of work for each chunk that looks finished; all other chunks, and those whose answers are damaged, go into
    `pending`.
    """

    async def reuse_or_put_off(chunk: Chunk) -> None:
        answers = await asyncio.to_thread(engine.kept.finished, chunk)
        if answers is None:
            pending.append(chunk)
        else:
            engine.progress.reuse(answers)
            await reuse(engine, chunk, answers)

    for chunk in engine.chunks:
        if engine.kept.listing.is_finished(chunk.key):
            yield reuse_or_put_off(chunk)
        else:
            pending.append(chunk)


async def _started(engine: Engine, complete: CompleteChunk, pending: list[Chunk]) -> AsyncIterator[Awaitable[Any]]:
    """A piece of work for each pending chunk; its rows are read just before."""

    async def complete_admitted(chunk: Chunk, rows: pa.Table) -> None:
        try:
            await complete(engine, chunk, rows)
        finally:
            engine.admission.ended(chunk.key)

    columns = needed_columns(engine.builder, engine.job)
    chunks = read_chunks(engine.dataset, engine.job, engine.plan, pending, columns)
    while (found := await asyncio.to_thread(next, chunks, None)) is not None:
        engine.admission.began(found[0].key, found[1].nbytes)
        yield complete_admitted(*found)


async def _run_bounded(work: AsyncIterator[Awaitable[Any]], has_room: Callable[[int], bool], engine: Engine) -> None:
    """Run pieces of work side by side; the next starts once there is room beside so many running ones.

    After a stop, start no more and let the running ones end.
    """
    running: set[asyncio.Future[Any]] = set()
    try:
        async for piece in work:
            running.add(asyncio.ensure_future(piece))
            while running and not has_room(len(running)):
                running = await _wait_for_change(running, engine)
            if engine.stop.reason is not None:
                break
        while running:
            running = await _wait_for_change(running, engine)
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError):
            engine.stop.interrupt(Interrupted())
        for task in running:
            task.cancel()
        with anyio.CancelScope(
            shield=True
        ):  # Prefect's scopes cancel again and again; without a shield the wait would end
            await asyncio.gather(*running, return_exceptions=True)  # asyncio prints errors that nobody retrieves
        raise


async def _wait_for_change(running: set[asyncio.Future[Any]], engine: Engine) -> set[asyncio.Future[Any]]:
    """Wait until a piece of work ends, or a chunk gives its place on; what runs then."""
    changed = asyncio.ensure_future(engine.admission.changed.wait())
    try:
        await asyncio.wait({*running, changed}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        changed.cancel()
    engine.admission.changed.clear()
    done = {task for task in running if task.done()}
    for task in done:
        try:
            task.result()
        except RunStopped as error:
            engine.stop.because(error)
    return running - done
