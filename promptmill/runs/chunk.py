"""One chunk: render its rows, reuse what is answered, send the rest, save as it goes.

A kill loses the requests in flight and at most as many answers as `engine.room` has places for: a row gives its slot back
only once its result has a place there, and keeps the place until it is saved. A file is filled so far that sending goes on
while it is written. Chunks send one after the other, so that few and large files hold the results: to write a file costs
more than the hundred answers in it.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import cast

import pyarrow as pa

from promptmill.checkpoints.answer_files import (
    ANSWERS,
    USAGE_COLUMNS,
    ZERO_USD,
    merge_answers,
    references,
    usage_of_columns,
)
from promptmill.checkpoints.saver import Saver
from promptmill.checkpoints.set_aside import SetAside
from promptmill.errors import CheckpointUnreadable, Interrupted, RunStopped, StorageFailed
from promptmill.limits.pricing import stored_usd
from promptmill.planning.plan import Chunk, Unrendered
from promptmill.planning.rows import render_chunk
from promptmill.records import Request, Result, Usage
from promptmill.runs.chunk_record import ChunkRecord, record_chunk
from promptmill.runs.completion import complete_request, unrendered_failure
from promptmill.runs.draining import drain_tasks, finish_tasks
from promptmill.runs.engine import Engine
from promptmill.runs.vectors import complete_pack, pack_inputs
from promptmill.stop import Slot

_NOT_FOUND = "aren't found among the kept answers. Run the same command again: they go into the next batch."


@dataclass(frozen=True, slots=True)
class _Work:
    """A chunk's rows: those to send, and the answers there are."""

    order: list[str]  # custom_ids in row order
    requests: list[Request]
    results: list[Result]  # failures that need no sending
    known: pa.Table
    retried: dict[str, tuple[Usage, Decimal]]  # what failed rows that are tried again have taken already
    taking: list[str]  # custom_ids of rows that take the answer of another row


async def complete_chunk(engine: Engine, chunk: Chunk, table: pa.Table) -> ChunkRecord:
    """Answer every row of a chunk and save the answers; `table` has the rows.

    Raises: StorageFailed when the answers can't be saved: call again, none is sent twice;
    RunStopped or a subclass when the run ends early: what was answered is saved.
    """
    is_first_try = chunk.key not in engine.unsaved
    engine.admission.sends(chunk.key)
    work = await asyncio.to_thread(_prepare, engine, chunk, table)
    exposure = engine.exposure
    saver = Saver(
        engine.store,
        chunk.key,
        engine.room,
        engine.saving.shut,
        lambda usd, is_saved: exposure.keep(usd, is_saved=is_saved),
    )
    sent = len(work.requests)
    if is_first_try:
        engine.progress.reuse(work.known)
        engine.progress.share(len(work.taking))
        for failure in work.results:
            engine.progress.answered(failure)
    saver.add_unpaid(work.results)
    began = time.monotonic()
    try:
        if not is_first_try:  # nothing more is paid for before what couldn't be saved is
            saver.names.append(await asyncio.to_thread(engine.store.save_rows, chunk.key, work.known))
            engine.saving.open(chunk.key)
        await _send_all(engine, work, saver)
        taken = references(work.taking, time.time())
        answers = _in_order(merge_answers([work.known, *saver.tables, taken]), work.order)
        replaced = engine.replaced_by(chunk, saver.names)
        size = await asyncio.to_thread(engine.store.save_chunk, chunk.key, answers, replaced)
    except StorageFailed:
        engine.unsaved[chunk.key] = [work.known, *saver.tables]
        engine.saving.shut(chunk.key)
        raise
    if engine.unsaved.pop(chunk.key, None) is not None:
        await asyncio.to_thread(SetAside(engine.store).forget, chunk.key)
    engine.log_chunk(chunk, answers, sent, size, time.monotonic() - began)
    return record_chunk(chunk, answers, sent=sent)


def _prepare(engine: Engine, chunk: Chunk, table: pa.Table) -> _Work:
    """Render the rows, prove that they are the planned ones, and look up what is answered."""
    rendered = render_chunk(engine.builder, engine.job, engine.plan, chunk, table)
    order = [row.custom_id for row in rendered]
    known, retried = _known_answers(engine, chunk, order)
    answered = set(cast(list[str], known["custom_id"].to_pylist()))
    missing = [row for row in rendered if row.custom_id not in answered]
    takers = {order[place] for place in chunk.takers.nonzero()[0]} if chunk.taking else set[str]()
    return _Work(
        order,
        engine.builder.send_order([row for row in missing if isinstance(row, Request) and row.custom_id not in takers]),
        [unrendered_failure(row) for row in missing if isinstance(row, Unrendered)],
        known,
        retried,
        [row.custom_id for row in missing if row.custom_id in takers],
    )


def _known_answers(
    engine: Engine, chunk: Chunk, order: Sequence[str]
) -> tuple[pa.Table, dict[str, tuple[Usage, Decimal]]]:
    """The answers that need no sending, and what failed rows that are sent again have cost."""
    if chunk.key in engine.unsaved:
        return merge_answers(engine.unsaved[chunk.key]), {}
    known = engine.kept.known(chunk, order)
    failed = engine.kept.to_retry(known)
    rows = zip(
        *(failed[name].to_pylist() for name in ("custom_id", *USAGE_COLUMNS, "cost_usd")),
        strict=True,
    )
    retried = {row[0]: (usage_of_columns(*row[1:-1]), row[-1]) for row in rows}
    return engine.kept.to_keep(known), retried


async def _send_all(engine: Engine, work: _Work, saver: Saver) -> None:
    """Send each row as slots come free; on a stop or a cancellation let those on their way finish."""
    if work.requests and not engine.may_send:
        raise engine.stop.because(StorageFailed(f"{len(work.requests)} rows that batches answered {_NOT_FOUND}"))
    tasks: set[asyncio.Task[None]] = set()
    try:
        with suppress(RunStopped):  # the reason is in engine.stop
            async with _turn(engine):
                await _start_all(engine, work, saver, tasks)
            if saver.error is None:  # otherwise rows are left to send
                engine.admission.waits(saver.key)
                saver.hurry()
        await finish_tasks(engine.stop, tasks)
    except asyncio.CancelledError:
        engine.stop.interrupt(Interrupted())
        await drain_tasks(tasks)
        raise
    finally:
        await saver.close()
    if saver.error is not None:
        raise saver.error
    if engine.stop.reason is not None:
        raise engine.stop.reason


@asynccontextmanager
async def _turn(engine: Engine) -> AsyncGenerator[None]:
    """Hold the only turn to send rows, which chunks take in the order in which they are ready. Raises: RunStopped."""
    with engine.stop.waiting():
        await engine.admission.turn.acquire()
    try:
        yield
    finally:
        engine.admission.turn.release()


async def _start_all(engine: Engine, work: _Work, saver: Saver, tasks: set[asyncio.Task[None]]) -> None:
    """Start a task for each request once there is a slot for it; `tasks` holds those under way. Raises: RunStopped.

    A slot may come free because a save failed and gave its places back: nothing more is sent then, since it couldn't be
    kept either.
    """
    packs = deque(_packs(engine, work.requests))
    work.requests.clear()  # a chunk that waits for its last answers holds none of its requests
    while packs:
        slot = await _slot(engine, saver)
        if slot is None:
            return
        task = asyncio.create_task(_send_pack(engine, packs.popleft(), slot, saver, work.retried))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def _slot(engine: Engine, saver: Saver) -> Slot | None:
    """A place for a request whose answer can be kept; None once this chunk's answers can't. Raises: RunStopped."""
    while saver.error is None:
        slot = Slot(engine.places)
        with engine.stop.waiting():
            await engine.saving.passing(saver.key)
            await slot.acquire()
        if engine.saving.is_open:
            return slot
        slot.release()
    return None


def _packs(engine: Engine, requests: Sequence[Request]) -> list[list[Request]]:
    return pack_inputs(requests) if engine.job.request.endpoint == "embeddings" else [[request] for request in requests]


async def _send_pack(
    engine: Engine,
    pack: Sequence[Request],
    slot: Slot,
    saver: Saver,
    retried: dict[str, tuple[Usage, Decimal]],
) -> None:
    """Send one request, count and keep its results; give the slot back once they have their place."""
    try:
        for result in await _results(engine, pack, slot):
            usage, paid = retried.get(result.custom_id, (None, ZERO_USD))
            if usage is not None:
                cost_usd = stored_usd(result.cost_usd + paid)
                result = replace(result, usage=result.usage + usage, cost_usd=cost_usd)  # noqa: PLW2901
            engine.progress.answered(result, paid)
            engine.exposure.hold(result.cost_usd - paid)
            await saver.add(engine.kept.dated(result), result.cost_usd - paid)
    except StorageFailed as error:
        if engine.stop.reason is None:  # the account couldn't be written; the chunk is tried again
            saver.refuse(error)
    except RunStopped:
        pass  # the reason is in engine.stop, where the chunk looks
    finally:
        slot.release()


async def _results(engine: Engine, pack: Sequence[Request], slot: Slot) -> list[Result]:
    if engine.job.request.endpoint == "embeddings":
        return await complete_pack(engine.client, engine.builder, pack, slot)
    allow_empty = engine.job.request.allow_empty
    return [await complete_request(engine.client, pack[0], slot, engine.validate, allow_empty=allow_empty)]


def _in_order(answers: pa.Table, order: Sequence[str]) -> pa.Table:
    """The answers in row order. Raises: CheckpointUnreadable when a row has none, which would be a bug here."""
    positions = {custom_id: i for i, custom_id in enumerate(cast(list[str], answers["custom_id"].to_pylist()))}
    try:
        return answers.take(pa.array([positions[custom_id] for custom_id in order], pa.int64())).cast(ANSWERS)
    except KeyError as error:
        raise CheckpointUnreadable(f"row {error} of a finished chunk has no answer") from error
