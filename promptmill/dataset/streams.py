"""A text file's bytes, decompressed, and its lines, within bounds: a file can be small and still fill a memory.

There is no bound on a file's size: 10 GB of usual lines are read like 10 MB of them.
"""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import PurePosixPath
from typing import IO, Any, cast
from urllib.parse import urlsplit

import pyarrow as pa
import zstandard

from promptmill.dataset.content import START_BYTES, refuse_other_content
from promptmill.errors import DatasetError

_MAX_LINE_BYTES = 64 << 20  # of a JSON line: an image of 45 MB in base64 fits
_MAX_RATIO = 100  # times that a file may grow when it is decompressed: text grows 3 to 20 times, repetitive logs 50
_FREE_BYTES = 8 << 20  # that any file may grow to: short files of equal rows compress well too
COMPRESSIONS = (".gz", ".zst", ".bz2", ".xz", ".lz4")
_BUFFER_BYTES = 1 << 20
_MAX_WINDOW = 1 << 27  # bytes that zstd keeps in memory; its own command line allows as many


@contextmanager
def open_stream(raw: Any, path: str, shown: str) -> Generator[IO[bytes]]:
    """The bytes of an open file, decompressed as its suffix says. Raises: DatasetError, also while it is read."""
    counted = _Counted(raw)
    unpacked: Any = counted
    suffix = PurePosixPath(urlsplit(path).path).suffix.lower()
    if suffix == ".gz":
        unpacked = gzip.GzipFile(fileobj=cast(Any, counted), mode="rb")
    elif suffix == ".zst":
        decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
        unpacked = decompressor.stream_reader(cast(Any, counted), read_across_frames=True)
    elif suffix == ".bz2":
        unpacked = bz2.BZ2File(cast(Any, counted))
    elif suffix == ".xz":
        unpacked = lzma.LZMAFile(cast(Any, counted))  # noqa: SIM115 - it holds nothing to close
    elif suffix == ".lz4":
        unpacked = pa.CompressedInputStream(pa.PythonFile(cast(Any, counted), mode="r"), "lz4")
    with io.BufferedReader(_Bounded(unpacked, counted, shown), _BUFFER_BYTES) as stream:
        refuse_other_content(stream.peek(START_BYTES), shown, "text")
        yield cast(IO[bytes], stream)


def lines_of(stream: IO[bytes], shown: str) -> Iterator[bytes]:
    """The lines of a stream. Raises: DatasetError for one that is too long."""
    for number, line in enumerate(iter(partial(stream.readline, _MAX_LINE_BYTES + 1), b""), 1):
        if len(line) > _MAX_LINE_BYTES:
            raise DatasetError(
                f"{shown} has more than {_MAX_LINE_BYTES:,} bytes in line {number}, which is the limit (input.url). Put a line "
                "break after each row, or keep large values elsewhere and their address in the row."
            )
        yield line


def refuse_bomb(shown: str, packed: int, unpacked: int) -> None:
    """Raises: DatasetError when so many bytes are too many for the compressed ones that they come from."""
    if unpacked > _FREE_BYTES and unpacked > _MAX_RATIO * packed:
        raise DatasetError(
            f"{shown} holds {unpacked:,} bytes or more in {packed:,} compressed ones; the limit is {_MAX_RATIO} times as many, "
            "since a file that grows further is likely made to fill a memory (input.url). If you trust it, decompress it and "
            "give the plain file."
        )


class _Counted:
    """A file that counts the bytes that are read from it."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.bytes = 0

    closed = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        """Leave the file open: the caller that opened it closes it."""

    def read(self, size: int = -1) -> bytes:
        data = cast(bytes, self._raw.read(size))
        self.bytes += len(data)
        return data


class _Bounded(io.RawIOBase):
    """What a decompressor makes of a file, as long as it doesn't grow too much."""

    def __init__(self, unpacked: Any, source: _Counted, shown: str) -> None:
        super().__init__()
        self._unpacked = unpacked
        self._source = source
        self._shown = shown
        self._bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = cast(bytes, self._unpacked.read(len(buffer)))
        except (zlib.error, zstandard.ZstdError, lzma.LZMAError, pa.ArrowException) as error:
            raise DatasetError(
                f"{self._shown} can't be decompressed ({error}); it is damaged, or packed with a larger window than "
                f"{_MAX_WINDOW:,} bytes (input.url). Write it again."
            ) from error
        buffer[: len(data)] = data
        self._bytes += len(data)
        refuse_bomb(self._shown, self._source.bytes, self._bytes)
        return len(data)
