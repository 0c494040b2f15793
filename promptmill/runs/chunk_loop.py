"""All chunks of a run, a few at a time: first those that an earlier run finished, then the rest in input order.

The loop reads the input once, in order, and holds only the rows of the chunks under way (admission.py). The caller says how
a chunk is completed: by a Prefect task in the flows, by a plain call in a notebook.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from itertools import chain
from typing import Any

import anyio
import pyarrow as pa

from promptmill.errors import Interrupted, RunStopped
from promptmill.planning.growth import Growth
from promptmill.planning.plan import Chunk, needed_columns
from promptmill.planning.rows import read_chunks
from promptmill.runs.engine import Engine
from promptmill.runs.growing import growing

CompleteChunk = Callable[[Engine, Chunk, pa.Table], Awaitable[object]]
_REUSED_AT_ONCE = 8


async def drive_chunks(engine: Engine, reuse: CompleteChunk, complete: CompleteChunk) -> None:
    """Answer every row of the plan, and plan meanwhile what isn't planned yet.

    `reuse` gets the answers of a finished chunk, `complete` the rows of any other.
    Raises: RunStopped or a subclass when the run ended early; what was answered is saved.
    """
    work = _Work(engine, reuse, complete)
    async with growing(engine.growth, engine.progress, engine.stop):
        await work.carry_out()
    if engine.stop.reason is not None:
        raise engine.stop.reason


class _Work:
    """The chunks of a run, and what is done with each."""

    def __init__(self, engine: Engine, reuse: CompleteChunk, complete: CompleteChunk) -> None:
        self._engine, self._reuse, self._complete = engine, reuse, complete
        self._pending: list[Chunk] = []  # not finished, or damaged

    async def carry_out(self) -> None:
        """Reuse the chunks that are finished, then complete the others in input order."""
        engine = self._engine
        known = list(engine.chunks)  # more come while the plan grows
        await _run_bounded(self._finished(known), lambda running: running < _REUSED_AT_ONCE, engine)
        engine.kept.warn_of_damage()
        await self._start(_in_order(self._pending), engine.growth, len(known))
        await self._start(_in_order(self._pending))  # that came later and are damaged

    async def _start(self, pending: Sequence[Chunk], growth: Growth | None = None, known: int = 0) -> None:
        """Complete the pending chunks, then those that come after the known ones, which may be finished."""
        self._pending, engine = [], self._engine
        chunks = pending if growth is None else chain(pending, growth.chunks(known))
        new_from = None if growth is None else known
        if (pending or growth is not None) and engine.stop.reason is None:
            await _run_bounded(self._started(chunks, new_from), lambda _: engine.admission.has_room, engine)

    async def _finished(self, chunks: Sequence[Chunk]) -> AsyncIterator[Awaitable[Any]]:
        """A piece of work for each chunk that looks finished; all other chunks are pending."""
        for chunk in chunks:
            if self._engine.kept.listing.is_finished(chunk.key):
                yield self._reuse_or_put_off(chunk)
            else:
                self._pending.append(chunk)

    async def _started(self, chunks: Iterable[Chunk], new_from: int | None) -> AsyncIterator[Awaitable[Any]]:
        """A piece of work for each of these chunks; its rows are read just before. From `new_from` on some may be finished."""
        engine, columns = self._engine, needed_columns(self._engine.builder, self._engine.job)
        reading = read_chunks(engine.dataset, engine.job, engine.plan, chunks, columns)
        while (found := await asyncio.to_thread(next, reading, None)) is not None:
            chunk, rows = found
            is_new = new_from is not None and chunk.index >= new_from
            is_done = is_new and engine.kept.listing.is_finished(chunk.key)
            engine.admission.began(chunk.key, rows.nbytes)
            yield self._admitted(
                chunk, self._reuse_or_put_off(chunk) if is_done else self._complete(engine, chunk, rows)
            )

    async def _reuse_or_put_off(self, chunk: Chunk) -> None:
        """Reuse the answers of a chunk; without them, it is pending."""
        answers = await asyncio.to_thread(self._engine.kept.finished, chunk)
        if answers is None:
            self._pending.append(chunk)
        else:
            self._engine.progress.reuse(answers)
            await self._reuse(self._engine, chunk, answers)

    async def _admitted(self, chunk: Chunk, work: Awaitable[object]) -> None:
        try:
            await work
        finally:
            self._engine.admission.ended(chunk.key)


def _in_order(chunks: Iterable[Chunk]) -> list[Chunk]:
    return sorted(chunks, key=lambda chunk: chunk.index)


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
