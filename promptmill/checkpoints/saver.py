"""Answers of a chunk under way → files, a few rows at a time, while sending goes on."""

import asyncio
from collections.abc import Sequence

import pyarrow as pa

from promptmill.checkpoints.answer_files import answers_table
from promptmill.checkpoints.store import Store
from promptmill.errors import PromptmillError, RunStopped, StorageFailed
from promptmill.records import Result

_SAVE_SECONDS = 5.0  # the longest that an answer stays unsaved, however slowly others come
_TRIES = 3
_RETRY_SECONDS = 2.0


class Saver:
    """Keeps at most `checkpoint_rows` answers unsaved, the ones being written included."""

    def __init__(self, store: Store, key: str, checkpoint_rows: int) -> None:
        self.tables: list[pa.Table] = []  # every answer that was added
        self.names: list[str] = []  # of the files they were saved in
        self.error: PromptmillError | None = None  # the first; raise it once the saver is closed
        self._store = store
        self._key = key
        self._places = asyncio.Semaphore(checkpoint_rows)
        self._full = max(1, checkpoint_rows // 2)
        self._unsaved: list[Result] = []
        self._writing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def add_unpaid(self, results: Sequence[Result]) -> None:
        """Keep results that cost nothing; they are found again without being saved on the way."""
        if results:
            self.tables.append(answers_table(results))

    async def add(self, result: Result) -> None:
        """Keep an answer; wait while too many are unsaved."""
        await self._places.acquire()
        self._unsaved.append(result)
        if len(self._unsaved) >= self._full:
            self._save()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SAVE_SECONDS, self._save)

    async def close(self) -> None:
        """Save what is unsaved, even while being cancelled; afterwards `error` says what couldn't be saved."""
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
        """Start writing what is unsaved, unless a write is under way: its end starts the next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is None and self._unsaved:
            results, self._unsaved = self._unsaved, []
            self._writing = asyncio.create_task(self._write(results))

    async def _write(self, results: Sequence[Result]) -> None:
        """Save answers. Whatever goes wrong, give their places back, so that nobody waits for them without end."""
        try:
            table = answers_table(results)
            self.tables.append(table)
            self.names.append(await self._write_patiently(table))
        except Exception as error:
            self.error = self.error or _as_ours(error, results)
        finally:
            for _ in results:
                self._places.release()
            self._writing = None
            if len(self._unsaved) >= self._full:
                self._save()

    async def _write_patiently(self, table: pa.Table) -> str:
        """Try again after a while: a full disk may be cleared and a store may come back, and these answers are paid for."""
        for attempt in range(1, _TRIES):
            try:
                return await asyncio.to_thread(self._store.save_rows, self._key, table)
            except StorageFailed:
                await asyncio.sleep(_RETRY_SECONDS * attempt)
        return await asyncio.to_thread(self._store.save_rows, self._key, table)


def _as_ours(error: Exception, results: Sequence[Result]) -> PromptmillError:
    """An error that ends the run in order, whatever was raised."""
    if isinstance(error, PromptmillError):
        return error
    what = f"{len(results)} answers, the first of row {results[0].custom_id},"
    if isinstance(error, (pa.ArrowException, OverflowError, TypeError)):  # asking again would bring the same
        stopped = RunStopped(
            f"{what} don't fit the answer file: {error}. Every other answer is kept; please report it."
        )
    else:
        stopped = StorageFailed(
            f"{what} can't be saved: {type(error).__name__}: {error}. Run the same command again: what was saved is kept."
        )
    stopped.__cause__ = error
    return stopped
