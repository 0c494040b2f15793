"""Saves the answers of a chunk under way, a few rows at a time, while the run goes on sending."""

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TypeVar

import pyarrow as pa

from promptmill.checkpoints.answer_files import ZERO_USD, answers_table, encode_answers
from promptmill.checkpoints.set_aside import SetAside
from promptmill.checkpoints.store import Store
from promptmill.errors import PromptmillError, RunStopped, StorageFailed
from promptmill.job.spec import Job
from promptmill.records import Result

T = TypeVar("T")
_SAVE_SECONDS = 5.0  # the longest that an answer stays unsaved, even if others come slowly
_LAST_SAVE_SECONDS = 1.0  # once all rows of the chunk are sent
_TRIES = 3
_RETRY_SECONDS = 2.0


def fill_rows(most_unsaved: int, came: int) -> int:
    """How many unsaved answers fill a file: it leaves room for twice as many as came during the last write.

    At least half of `most_unsaved`. Fewer files cost less CPU, but sending must not wait for a write.
    """
    return max(1, most_unsaved // 2, most_unsaved - max(1, 2 * came))


def most_unsaved(job: Job, chunks: int | None) -> int:
    """How many answers a kill loses at most, beside the requests in flight; `chunks` is how many there are, if it's known."""
    return job.checkpoint_rows * min(job.chunks_in_flight, max(1, job.chunks_in_flight if chunks is None else chunks))


class Room:
    """Places for answers that aren't saved yet, of all chunks of a run, including those in a write under way."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.places = asyncio.Semaphore(most)


class Saver:
    """Saves the answers of one chunk; they wait in the room that all chunks share."""

    def __init__(
        self,
        store: Store,
        key: str,
        room: Room,
        on_error: Callable[[str], None] = lambda _key: None,
        on_end: Callable[[Decimal, bool], None] = lambda _usd, _is_saved: None,
    ) -> None:
        """`on_error` is called with the key before an answer that can't be saved gives its place back.

        `on_end` is called once for each added answer, with its cost and whether it is saved; one call may cover several.
        """
        self.tables: list[pa.Table] = []  # every added answer
        self.names: list[str] = []  # names of the files that hold them
        self.error: PromptmillError | None = None  # the first; raise it once the saver is closed
        self._store = store
        self.key = key  # of the chunk
        self._on_error = on_error
        self._on_end = on_end
        self._unsaved_usd = ZERO_USD
        self._room, self._places = room, room.places
        self._longest_seconds = _SAVE_SECONDS
        self._full = fill_rows(room.most, room.most)
        self._unsaved: list[Result] = []
        self._writing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def add_unpaid(self, results: Sequence[Result]) -> None:
        """Add results that cost nothing. They aren't saved before the chunk ends, since a later run finds them again."""
        if results:
            self.tables.append(answers_table(results))

    async def add(self, result: Result, paid_usd: Decimal = ZERO_USD) -> None:
        """Add an answer with its cost to this process; wait while too many are unsaved."""
        if self._places.locked():
            self._save()
        await self._places.acquire()
        self._unsaved.append(result)
        self._unsaved_usd += paid_usd
        if len(self._unsaved) >= self._full:
            self._save()
        else:
            self._start_timer()

    def hurry(self) -> None:
        """Save all answers so far: the last ones may take long, and other chunks need the shared places."""
        self._longest_seconds = _LAST_SAVE_SECONDS
        self._save()

    def refuse(self, error: StorageFailed) -> None:
        """Take no more answers, because the storage failed elsewhere."""
        self.error = self.error or error
        self._on_error(self.key)

    async def close(self) -> None:
        """Save all unsaved answers, even during a cancellation; afterwards `error` says which answers couldn't be saved."""
        cancelled: asyncio.CancelledError | None = None
        while self._unsaved or self._writing is not None:
            self._save()
            try:
                if self._writing is not None:
                    await asyncio.shield(self._writing)
            except asyncio.CancelledError as error:
                cancelled = error
        if self._timer is not None:
            self._timer.cancel()
        if cancelled is not None:
            raise cancelled

    def _save(self) -> None:
        """Start to write the unsaved answers. If a write is under way, its end starts the next one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is None and self._unsaved:
            results, self._unsaved = self._unsaved, []
            paid_usd, self._unsaved_usd = self._unsaved_usd, ZERO_USD
            self._writing = asyncio.create_task(self._write(results, paid_usd))

    async def _write(self, results: Sequence[Result], paid_usd: Decimal) -> None:
        """Save answers. If anything fails, give back their places, so that nobody waits for them without end."""
        try:
            table = answers_table(results)
            self.tables.append(table)
            self.names.append(await self._write_patiently(table))
            self._on_end(paid_usd, True)
        except Exception as error:
            self._on_end(paid_usd, False)
            self.error = self.error or _as_ours(error, results)
            self._on_error(self.key)
        finally:
            for _ in results:
                self._places.release()
            self._writing = None
            self._full = fill_rows(self._room.most, len(self._unsaved))
            was_due = self._timer is None  # it ran out during this write
            if was_due or len(self._unsaved) >= self._full:
                self._save()

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._longest_seconds, self._save)

    async def _write_patiently(self, table: pa.Table) -> str:
        """Save answers; if the storage fails, keep them on this machine for the next run."""
        try:
            return await write_patiently(lambda: self._store.save_rows(self.key, table))
        except StorageFailed:
            await asyncio.to_thread(SetAside(self._store).keep, self.key, encode_answers(table))
            raise


async def write_patiently(write: Callable[[], T]) -> T:
    """Try again after a while: a full disk may be cleared and a store may come back. Raises: StorageFailed."""
    for attempt in range(1, _TRIES):
        try:
            return await asyncio.to_thread(write)
        except StorageFailed:
            await asyncio.sleep(_RETRY_SECONDS * attempt)
    return await asyncio.to_thread(write)


def _as_ours(error: Exception, results: Sequence[Result]) -> PromptmillError:
    """Turn any error into one that ends the run in order."""
    if isinstance(error, PromptmillError):
        return error
    what = f"{len(results)} answers, the first of row {results[0].custom_id},"
    if isinstance(error, (pa.ArrowException, OverflowError, TypeError)):  # a second request would bring the same answer
        stopped = RunStopped(
            f"{what} don't fit the answer file: {error}. Every other answer is kept; please report it."
        )
    else:
        stopped = StorageFailed(
            f"{what} can't be saved: {type(error).__name__}: {error}. Run the same command again: saved answers are kept."
        )
    stopped.__cause__ = error
    return stopped
