"""A file that Arrow's CSV reader can be stopped in.

Arrow reads ahead in a thread of its own, which takes Python's lock for each read. If a reader is given up early (a
limit, a wrong row), Arrow waits for that thread while it holds the lock: two of six reads of a wrong .csv.gz never ended.
At the end of the process that thread can abort it. So `stop` gives the thread an end, and waits until it has seen it.
It reads up to 32 blocks ahead. Where blocks are large, `most_blocks` says how many Arrow may hold.
"""

import queue
import weakref
from contextlib import suppress
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.csv as pacsv

_MOST_WAIT_SECONDS = 5.0  # for Arrow to drop a block, so that a wrong idea of how many it needs costs time only
_PAUSE_SECONDS = 1.0  # without a read after which Arrow's thread has paused: it does so with 32 blocks in advance


class StoppableFile:
    """A file of bytes for Arrow's thread; after `stop` it is at its end."""

    closed = False

    def __init__(self, opened: IO[bytes], most_blocks: int | None = None) -> None:
        self._opened = opened
        self._room: queue.SimpleQueue[Any] | None = None if most_blocks is None else queue.SimpleQueue()
        for _ in range(most_blocks or 0):
            cast(Any, self._room).put(None)
        self._lent: dict[int, weakref.ref[memoryview]] = {}  # the blocks that Arrow holds
        self._is_stopped = False
        self._is_reading = False
        self._error: Exception | None = None
        self._ends: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._watched: list[weakref.ref[memoryview]] = []

    def readable(self) -> bool:
        """Whether bytes can be read."""
        return True

    def writable(self) -> bool:
        """Whether bytes can be written."""
        return False

    def seekable(self) -> bool:
        """Whether Arrow may move in the file."""
        return False

    def close(self) -> None:
        """Leave the file open: the caller that opened it closes it."""

    def read(self, size: int = -1) -> bytes | memoryview:
        """The next bytes. The object for the end tells, when Arrow's thread drops it, that the thread is done with Python."""
        self._is_reading = True
        try:
            self._await_room()
            data = b"" if self._is_stopped else self._read(size)
        except Exception as error:  # `require_whole` raises it, in the thread that asked for the rows
            self._error = error
            data = b""
        finally:
            self._is_reading = False
        if data:
            return data
        end = memoryview(b"")
        # SimpleQueue.put keeps Python's lock until Arrow has it back, so the waiting `stop` goes on after that
        self._watched.append(weakref.ref(end, self._ends.put))
        return end

    def _await_room(self) -> None:
        """Wait until Arrow has dropped a block, or seems to need one more before it can."""
        if self._room is not None and not self._is_stopped:
            with suppress(queue.Empty):
                dropped = self._room.get(timeout=_MOST_WAIT_SECONDS)
                self._lent.pop(id(dropped), None)

    def _read(self, size: int) -> bytes | memoryview:
        data = self._opened.read(size)
        if self._room is None or not data:
            return data
        block = memoryview(data)
        lent = weakref.ref(block, self._room.put)
        self._lent[id(lent)] = lent
        return block

    def require_whole(self) -> None:
        """Raises: what a read raised, if one did: Arrow's thread would still hold it at the end of the process."""
        if self._error is not None:
            raise self._error

    def stop(self, reader: pacsv.CSVStreamingReader | None) -> None:
        """End the reads of Arrow's thread, and wait until it is done with Python."""
        self._is_stopped = True
        if self._room is not None:
            self._room.put(None)
        try:
            while reader is not None:
                reader.read_next_batch()
        except (StopIteration, pa.ArrowException, OSError):
            pass  # nobody wants these rows
        while True:
            try:
                self._ends.get(timeout=_PAUSE_SECONDS)
                return
            except queue.Empty:
                if not self._is_reading:
                    return
