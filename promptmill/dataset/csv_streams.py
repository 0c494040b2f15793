"""The bytes of a CSV file as Arrow's reader takes them: UTF-8, without comments, with an empty field for MySQL's null."""

import codecs
import io
import re
from typing import IO, Any, cast

import pyarrow as pa

from promptmill.arrow import pc
from promptmill.dataset.csv_dialect import Dialect
from promptmill.dataset.streams import lines_of
from promptmill.errors import DatasetError

_BUFFER_BYTES = 1 << 20
_NULL = rb"\N"  # what MySQL and Hive write for a null when a backslash is their escape
_OVERLAP_BYTES = 64  # of a piece that are looked at once more with the next one
_UTF8 = frozenset({"utf-8", "ascii"})


class Watch:
    """What was seen in the bytes of a file."""

    def __init__(self) -> None:
        self.has_escapes = False  # a backslash before a quote
        self.has_inner_quotes = False  # a quote between other characters, which isn't doubled


def utf8_stream(stream: IO[bytes], dialect: Dialect, shown: str, watch: Watch | None = None) -> IO[bytes]:
    """The file's bytes, as Arrow takes them. Raises: DatasetError while it is read."""
    found: Any = stream
    if codecs.lookup(dialect.encoding).name not in _UTF8:
        found = io.BufferedReader(_Transcoded(found, dialect.encoding, shown), _BUFFER_BYTES)
    if dialect.comment or dialect.escape == "\\":
        found = io.BufferedReader(_ByLine(found, dialect, shown), _BUFFER_BYTES)
    if watch is not None and not dialect.escape and dialect.quote:
        found = io.BufferedReader(_Watched(found, dialect, watch), _BUFFER_BYTES)
    return cast(IO[bytes], found)


def followed_by(stream: IO[bytes], row: bytes) -> IO[bytes]:
    """The bytes of a stream, and a row behind them."""
    return cast(IO[bytes], io.BufferedReader(_Followed(stream, row), _BUFFER_BYTES))


class _Piecewise(io.RawIOBase):
    """A stream whose bytes are made piece by piece; a piece may be of any size."""

    def __init__(self) -> None:
        super().__init__()
        self._held: bytes = b""
        self._is_over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._held and not self._is_over:
            piece = self._next_piece()
            self._is_over = piece is None
            self._held = piece or b""
        count = min(len(buffer), len(self._held))
        buffer[:count] = self._held[:count]
        self._held = self._held[count:]
        return count

    def _next_piece(self) -> bytes | None:
        """The next bytes, perhaps none; None at the end."""
        raise NotImplementedError


class _Transcoded(_Piecewise):
    def __init__(self, stream: IO[bytes], encoding: str, shown: str) -> None:
        super().__init__()
        self._stream = stream
        self._encoding = encoding
        self._shown = shown
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._is_first = True

    def _next_piece(self) -> bytes | None:
        data = self._stream.read(_BUFFER_BYTES)
        try:
            text = self._decoder.decode(data, not data)
            if self._is_first:
                text = text.removeprefix("\ufeff")
            self._is_first = self._is_first and not text
            return text.encode() if text or data else None
        except UnicodeError as error:
            raise DatasetError(
                f"{self._shown} isn't {self._encoding}: {error} (input.csv.encoding). Set input.csv.encoding to that of the "
                "file, or convert it to UTF-8."
            ) from error


class _ByLine(_Piecewise):
    """A stream whose lines are each changed, or left out."""

    def __init__(self, stream: IO[bytes], dialect: Dialect, shown: str) -> None:
        super().__init__()
        self._lines = lines_of(stream, shown)
        self._comment = dialect.comment.encode()
        self._quote = dialect.quote.encode()
        self._is_quoted = False
        sign = re.escape(dialect.delimiter.encode())
        self._null = re.compile(rb"(?:^|(?<=" + sign + rb"))\\N(?=[\r\n]|$|" + sign + rb")")
        self._has_nulls = dialect.escape == "\\"

    def _next_piece(self) -> bytes | None:
        pieces: list[bytes] = []
        size = 0
        for line in self._lines:
            pieces.append(self._change(line))
            size += len(line)
            if size >= _BUFFER_BYTES:
                break
        return b"".join(pieces) if pieces else None

    def _change(self, line: bytes) -> bytes:
        if self._comment and not self._is_quoted and line.startswith(self._comment):
            return b""
        if self._quote and line.count(self._quote) % 2:
            self._is_quoted = not self._is_quoted
        return self._null.sub(b"", line) if self._has_nulls and _NULL in line else line


class _Followed(_Piecewise):
    def __init__(self, stream: IO[bytes], row: bytes) -> None:
        super().__init__()
        self._stream = stream
        self._row: bytes | None = row
        self._last = b"\n"

    def _next_piece(self) -> bytes | None:
        data = self._stream.read(_BUFFER_BYTES)
        if data:
            self._last = data[-1:]
            return data
        row, self._row = self._row, None
        return row if row is None or self._last in b"\r\n" else b"\n" + row


class _Watched(io.RawIOBase):
    """Notes which quotes occur that aren't written as most files have them."""

    def __init__(self, stream: IO[bytes], dialect: Dialect, watch: Watch) -> None:
        super().__init__()
        quote, sign = re.escape(dialect.quote), re.escape(dialect.delimiter)
        self._stream = stream
        self._quote = dialect.quote.encode()
        self._escaped = b"\\" + self._quote
        self._inner = f"[^{quote}{sign}\r\n]{quote}(?:{quote}{quote})*[^{quote}{sign}\r\n]"
        self._watch = watch
        self._before = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        seen = self._before + data
        if not self._watch.has_escapes:
            self._watch.has_escapes = self._escaped in seen
        if self._quote in seen and not self._watch.has_inner_quotes:
            found = pc.match_substring_regex(
                pa.scalar(seen, pa.large_binary()), self._inner
            )  # RE2 takes a third of re's time
            self._watch.has_inner_quotes = bool(found.as_py())
        self._before = seen[-_OVERLAP_BYTES:]
        buffer[: len(data)] = data
        return len(data)
