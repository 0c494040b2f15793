"""One chunk: render its rows, reuse what is answered, send the rest, save as it goes."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import cast

import pyarrow as pa

from promptmill.checkpoints.answer_files import (
    ANSWERS,
    USAGE_COLUMNS,
    merge_answers,
    references,
    usage_of_columns,
)
from promptmill.checkpoints.saver import Saver
from promptmill.checkpoints.set_aside import SetAside
from promptmill.errors import CheckpointUnreadable, StorageFailed
from promptmill.planning.plan import Chunk, Unrendered
from promptmill.planning.rows import render_chunk
from promptmill.records import Request, Result, Usage
from promptmill.runs.chunk_record import ChunkRecord, record_chunk
from promptmill.runs.chunk_sending import ChunkSending
from promptmill.runs.completion import unrendered_failure
from promptmill.runs.engine import Engine


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
        sending = ChunkSending(engine, saver, work.requests, work.retried)
        work.requests.clear()  # a chunk that waits for its last answers holds none of its requests
        await sending.send_all()
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
    engine.free.came_by(answers.nbytes)
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


def _in_order(answers: pa.Table, order: Sequence[str]) -> pa.Table:
    """The answers in row order. Raises: CheckpointUnreadable when a row has none, which would be a bug here."""
    positions = {custom_id: i for i, custom_id in enumerate(cast(list[str], answers["custom_id"].to_pylist()))}
    try:
        return answers.take(pa.array([positions[custom_id] for custom_id in order], pa.int64())).cast(ANSWERS)
    except KeyError as error:
        raise CheckpointUnreadable(f"row {error} of a finished chunk has no answer") from error
