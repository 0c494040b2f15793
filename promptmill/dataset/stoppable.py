"""A file that Arrow's CSV reader can be stopped in.

Arrow reads ahead in a thread of its own, which takes Python's lock for each read. If a reader is given up early (a
limit, a wrong row), Arrow waits for that thread while it holds the lock: two of six reads of a wrong .csv.gz never ended.
So `stop` gives the thread an end, and waits until it has seen it.

A thread that takes Python's lock while Python ends aborts the process (exit code 134, in 1 of 12 reads on a busy
machine). Arrow's threads would take it to give back bytes of Python's and the file itself. So the blocks are Arrow's own
memory, the file is closed before its reader is given up, and it is kept for a while.

Arrow reads up to 32 blocks ahead. Where blocks are large, `most_blocks` says how many Arrow may hold.
"""

import queue
import time
import weakref
from collections import deque
from typing import IO, Any

import pyarrow as pa
import pyarrow.csv as pacsv

_MOST_WAIT_SECONDS = 5.0  # for Arrow to drop a block, so that a wrong idea of how many it needs costs time only
_LOOK_SECONDS = 0.002
_PAUSE_SECONDS = 1.0  # without a read after which Arrow's thread has paused: it does so with 32 blocks in advance

# The last files: one of Arrow's threads that were the last to hold a file would take Python's lock to close it.
_kept: deque[pa.NativeFile] = deque(maxlen=64)
_pools: list[pa.MemoryPool] = []  # they outlive the blocks of them that Arrow holds; the system gets freed blocks back


class StoppableFile:
    """A file of bytes for Arrow's thread; after `stop` it is at its end."""

    closed = False

    def __init__(self, opened: IO[bytes], block_bytes: int = 0, most_blocks: int | None = None) -> None:
        self._opened: IO[bytes] | None = opened
        self._most_bytes = None if most_blocks is None else (most_blocks - 1) * block_bytes
        self._pool = pa.system_memory_pool() if most_blocks is None else _unused_pool()
        self._file: pa.NativeFile | None = None
        self._is_reading = False
        self._error: Exception | None = None
        self._ends: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._watched: list[weakref.ref[memoryview]] = []

    def for_arrow(self) -> pa.NativeFile:
        """The file as Arrow takes it: a buffer of one byte makes Arrow copy each block into memory of its own."""
        self._file = pa.BufferedInputStream(pa.PythonFile(self, mode="r"), 1, memory_pool=self._pool)
        _kept.append(self._file)
        return self._file

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
        """The next bytes. The empty ones at the end tell, when Arrow drops them, that its thread is done with Python."""
        self._is_reading = True
        try:
            self._await_room()
            data = b"" if self._opened is None else self._opened.read(size)
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
        if self._most_bytes is None:
            return
        end = time.monotonic() + _MOST_WAIT_SECONDS
        while self._opened is not None and self._pool.bytes_allocated() > self._most_bytes and time.monotonic() < end:
            time.sleep(_LOOK_SECONDS)

    def require_whole(self) -> None:
        """Raises: what a read raised, if one did: Arrow's thread would still hold it at the end of the process."""
        if self._error is not None:
            raise self._error

    def stop(self, reader: pacsv.CSVStreamingReader | None) -> None:
        """End the reads of Arrow's thread, wait until it is done with Python, and close the file that it holds."""
        self._opened = None
        try:
            while reader is not None:
                reader.read_next_batch()
        except (StopIteration, pa.ArrowException, OSError):
            pass  # nobody wants these rows
        self._await_thread()
        if self._file is not None:
            self._file.close()  # otherwise a thread that gives it back late takes Python's lock to close it

    def _await_thread(self) -> None:
        while True:
            try:
                self._ends.get(timeout=_PAUSE_SECONDS)
                return
            except queue.Empty:
                if not self._is_reading:
                    return


def _unused_pool() -> pa.MemoryPool:
    """A pool without memory in use, which counts what a reader holds. If two readers share it, that costs time only."""
    for pool in _pools:
        if not pool.bytes_allocated():
            return pool
    _pools.append(pa.proxy_memory_pool(pa.system_memory_pool()))
    return _pools[-1]
