"""Rows that can be read only once, or slowly, kept in a file of this machine's temporary folder until the process ends.

The file has no name, so a process that is killed leaves nothing behind. Several readers may be at different places of it.
"""

import io
import os
import tempfile
from typing import IO, Any

import pyarrow as pa


class Spool:
    """A temporary file of record batches; write it once, then read it as often as needed."""

    def __init__(self, schema: pa.Schema) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as its reader
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer = pa.ipc.new_file(self._file, schema, options=options)
        self._starts: list[int] = []  # the number of each batch's first row
        self.rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows. Raises: OSError when the disk is full."""
        self._writer.write_batch(batch)
        self._starts.append(self.rows)
        self.rows += batch.num_rows

    def finish(self) -> None:
        """End the file: from now on it can be read."""
        self._writer.close()
        self._file.flush()

    def batches(self, start: int = 0) -> "list[int]":
        """The numbers of the batches that hold the rows from number `start` on."""
        return [number for number, first in enumerate([*self._starts[1:], self.rows]) if first > start]

    def first_row(self, number: int) -> int:
        """The number of a batch's first row."""
        return self._starts[number]

    def open(self) -> pa.ipc.RecordBatchFileReader:
        """A reader of its own."""
        return pa.ipc.open_file(io.BufferedReader(_At(self._file), 1 << 16))


class _At(io.RawIOBase):
    """A file with a position of its own: another reader of the same file doesn't move it."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file  # keeps it open
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        starts = (0, self._place, os.fstat(self._file.fileno()).st_size)
        self._place = starts[whence] + offset
        return self._place

    def readinto(self, buffer: Any) -> int:
        data = os.pread(self._file.fileno(), len(buffer), self._place)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)
