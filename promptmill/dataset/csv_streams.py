"""The bytes of a CSV file as Arrow's reader takes them: UTF-8, without comments, with an empty field for MySQL's null."""

import codecs
import io
import re
from typing import IO, Any, cast

from promptmill.dataset.csv_dialect import Dialect
from promptmill.dataset.streams import lines_of
from promptmill.errors import DatasetError

_BUFFER_BYTES = 1 << 20
_NULL = rb"\N"  # what MySQL and Hive write for a null when a backslash is their escape
_UTF8 = frozenset({"utf-8", "ascii"})


class Watch:
    """What was seen in the bytes of a file."""

    def __init__(self) -> None:
        self.has_escapes = False  # a backslash before a quote


def utf8_stream(stream: IO[bytes], dialect: Dialect, shown: str, watch: Watch) -> IO[bytes]:
    """The file's bytes, as Arrow takes them. Raises: DatasetError while it is read."""
    found: Any = stream
    if codecs.lookup(dialect.encoding).name not in _UTF8:
        found = io.BufferedReader(_Transcoded(found, dialect.encoding, shown), _BUFFER_BYTES)
    if dialect.comment or dialect.escape == "\\":
        found = io.BufferedReader(_ByLine(found, dialect, shown), _BUFFER_BYTES)
    if not dialect.escape and dialect.quote:
        found = io.BufferedReader(_Watched(found, b"\\" + dialect.quote.encode(), watch), _BUFFER_BYTES)
    return cast(IO[bytes], found)


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


class _Watched(io.RawIOBase):
    """Notes whether some bytes occur."""

    def __init__(self, stream: IO[bytes], sought: bytes, watch: Watch) -> None:
        super().__init__()
        self._stream = stream
        self._sought = sought
        self._watch = watch
        self._before = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        if not self._watch.has_escapes:
            self._watch.has_escapes = self._sought in self._before + data[:1] or self._sought in data
            self._before = data[-1:] or self._before
        buffer[: len(data)] = data
        return len(data)
