"""One Parquet part under way: row groups in, bytes out to a file that nobody sees yet."""

from contextlib import suppress
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from promptmill.storage import STORAGE_ERRORS, Storage
from promptmill.unpublished import UnpublishedFile

_GATHERED_BYTES = 1 << 20  # given to Python's file at once, so that Arrow seldom waits for Python's lock


class _Sink:
    """A file as Arrow takes it. Arrow may not close it, and what Arrow writes after the end is dropped."""

    closed = False

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._bytes = 0
        self.is_over = False

    def write(self, data: bytes) -> int:
        """Pass the bytes on."""
        if not self.is_over:
            self._stream.write(data)
        self._bytes += len(data)
        return len(data)

    def tell(self) -> int:
        """The bytes so far."""
        return self._bytes

    def flush(self) -> None:
        """Nothing: the file is flushed when it is finished."""

    def close(self) -> None:
        """Nothing: a writer that is given up is closed, and its file is discarded."""

    def writable(self) -> bool:
        """Whether bytes can be written."""
        return True

    def readable(self) -> bool:
        """Whether bytes can be read."""
        return False

    def seekable(self) -> bool:
        """Whether another place can be written to."""
        return False


class PartWriter:
    """A part being written. For one thread at a time."""

    def __init__(self, storage: Storage, name: str, schema: pa.Schema, compression: str) -> None:
        """Raises: any of STORAGE_ERRORS."""
        self.name = name
        self.rows = 0
        self.file: UnpublishedFile = storage.open_unpublished(name)
        self._sink = _Sink(self.file.stream)
        opened: Any = self._sink
        self._buffered = pa.BufferedOutputStream(pa.PythonFile(opened, mode="w"), _GATHERED_BYTES)
        self._writer = pq.ParquetWriter(self._buffered, schema, compression=compression)

    @property
    def bytes(self) -> int:
        """How many there are so far."""
        return self._buffered.tell()

    def write(self, table: pa.Table) -> None:
        """Append a row group. Raises: any of STORAGE_ERRORS."""
        self._writer.write_table(table, row_group_size=table.num_rows)
        self.rows += table.num_rows

    def close(self) -> None:
        """Write the footer; the file isn't finished. Raises: any of STORAGE_ERRORS."""
        self._writer.close()
        self._buffered.flush()

    def discard(self) -> None:
        """Forget the part, without an error: the error that led here is the one to raise."""
        self._sink.is_over = True
        with suppress(*STORAGE_ERRORS):
            self.file.discard()
