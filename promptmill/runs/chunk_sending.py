"""Sends the rows of one chunk and hands their results to its saver.

A kill loses the requests in flight and at most as many answers as `engine.room` has places for: a row gives its slot on
only once its result has a place there, and keeps the place until it is saved. A file is filled so far that sending goes on
while it is written. Chunks send one after the other, so that few and large files hold the results: to write a file costs
more than the hundred answers in it.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from decimal import Decimal

from promptmill.checkpoints.answer_files import ZERO_USD
from promptmill.checkpoints.saver import Saver
from promptmill.errors import Interrupted, RunStopped, StorageFailed
from promptmill.limits.pricing import stored_usd
from promptmill.records import Request, Result, Usage
from promptmill.runs.completion import complete_request
from promptmill.runs.draining import drain_tasks, finish_tasks
from promptmill.runs.engine import Engine
from promptmill.runs.vectors import complete_pack, pack_inputs
from promptmill.stop import Slot

Paid = Mapping[str, tuple[Usage, Decimal]]  # custom_id → what a row that is tried again has taken already
_NOT_FOUND = "aren't found among the kept answers. Run the same command again: they go into the next batch."


class ChunkSending:
    """The requests of one chunk that are still to be sent, and those on their way."""

    def __init__(self, engine: Engine, saver: Saver, requests: Sequence[Request], paid: Paid) -> None:
        self._engine, self._saver, self._paid = engine, saver, paid
        self._are_vectors = engine.job.request.endpoint == "embeddings"
        self._packs = deque(pack_inputs(requests) if self._are_vectors else [[request] for request in requests])
        self._rows = len(requests)
        self._tasks: set[asyncio.Task[None]] = set()

    async def send_all(self) -> None:
        """Send each row as slots come free; on a stop or a cancellation let those on their way finish.

        Raises: StorageFailed when answers can't be saved; RunStopped or a subclass when the run ends early.
        """
        engine, saver = self._engine, self._saver
        if self._packs and not engine.may_send:
            raise engine.stop.because(StorageFailed(f"{self._rows} rows that batches answered {_NOT_FOUND}"))
        try:
            with suppress(RunStopped):  # the reason is in engine.stop
                if self._packs:
                    async with self._turn():
                        await self._start_all()
                if saver.error is None:  # otherwise rows are left to send
                    engine.admission.waits(saver.key)
                    saver.hurry()
            await finish_tasks(engine.stop, self._tasks)
        except asyncio.CancelledError:
            engine.stop.interrupt(Interrupted())
            await drain_tasks(self._tasks)
            raise
        finally:
            await saver.close()
        if saver.error is not None:
            raise saver.error
        if engine.stop.reason is not None:
            raise engine.stop.reason

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None]:
        """Hold the only turn to send rows, which chunks take in the order in which they are ready. Raises: RunStopped."""
        turn = self._engine.admission.turn
        with self._engine.stop.waiting():
            await turn.acquire()
        try:
            yield
        finally:
            turn.release()

    async def _start_all(self) -> None:
        """Start a task with a request for each slot that comes free, until none is left. Raises: RunStopped.

        A slot may come free because a save failed and gave its places back: nothing more is sent then, since it couldn't be
        kept either.
        """
        while self._packs and (slot := await self._slot()) is not None:
            if not self._packs:  # the last one went through another slot meanwhile
                slot.release()
                return
            task = asyncio.create_task(self._send_through(slot, self._packs.popleft()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _slot(self) -> Slot | None:
        """A place for a request whose answer can be kept; None once this chunk's answers can't. Raises: RunStopped."""
        engine, saver = self._engine, self._saver
        while saver.error is None:
            slot = Slot(engine.places)
            with engine.stop.waiting():
                await engine.saving.passing(saver.key)
                await slot.acquire()
            if engine.saving.is_open:
                return slot
            slot.release()
        return None

    async def _send_through(self, slot: Slot, pack: Sequence[Request]) -> None:
        """Send this request and others after it through a slot, until another row waits for it or none is left."""
        try:
            while True:
                await self._send_pack(pack, slot)
                if not self._packs or self._is_stopping or not slot.may_be_kept:
                    return
                pack = self._packs.popleft()
        finally:
            slot.release()

    @property
    def _is_stopping(self) -> bool:
        """Whether this chunk may send no more, for now or at all."""
        return self._engine.stop.reason is not None or self._saver.error is not None or not self._engine.saving.is_open

    async def _send_pack(self, pack: Sequence[Request], slot: Slot) -> None:
        """Send one request, count and keep its results."""
        engine = self._engine
        try:
            for result in await self._results(pack, slot):
                usage, paid = self._paid.get(result.custom_id, (None, ZERO_USD))
                if usage is not None:
                    cost_usd = stored_usd(result.cost_usd + paid)
                    result = replace(result, usage=result.usage + usage, cost_usd=cost_usd)  # noqa: PLW2901
                engine.progress.answered(result, paid)
                engine.exposure.hold(result.cost_usd - paid)
                await self._saver.add(engine.kept.dated(result), result.cost_usd - paid)
        except StorageFailed as error:
            if engine.stop.reason is None:  # the account couldn't be written; the chunk is tried again
                self._saver.refuse(error)
        except RunStopped:
            pass  # the reason is in engine.stop, where the chunk looks

    async def _results(self, pack: Sequence[Request], slot: Slot) -> list[Result]:
        engine = self._engine
        if self._are_vectors:
            return await complete_pack(engine.client, engine.builder, pack, slot)
        allow_empty = engine.job.request.allow_empty
        return [await complete_request(engine.client, pack[0], slot, engine.validate, allow_empty=allow_empty)]
