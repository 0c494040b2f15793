"""Reads multipart/form-data as it arrives.

Starlette's own reader needs another package and keeps the file in a temporary file. This reader passes on every piece, so
an upload of 200 MB costs a buffer of one network read.
Format: RFC 7578 and RFC 2046 section 5.1.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_MAX_HEADER_BYTES = 16_384
_PARAMETER = re.compile(r'([\w*]+)="((?:[^"\\]|\\.)*)"')
_BOUNDARY = re.compile(r'boundary="?([^";]+)"?')


@dataclass(frozen=True, slots=True)
class Part:
    """The headers of a part."""

    name: str
    filename: str | None  # None: a plain field


def find_boundary(content_type: str) -> bytes:
    """The boundary that a Content-Type names. Raises: ValueError if it isn't multipart/form-data."""
    match = _BOUNDARY.search(content_type)
    if not content_type.startswith("multipart/form-data") or match is None:
        raise ValueError(f"{content_type!r} is not multipart/form-data with a boundary.")
    return match.group(1).encode()


class MultipartReader:
    """Feed it pieces of a body; it gives (part, piece of its content) in order."""

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._buffer = b"\r\n"  # the first delimiter may stand at the very beginning
        self._part: Part | None = None  # whose content is being read; None: before the first
        self._in_headers = False
        self.is_complete = False  # the closing delimiter was seen

    def feed(self, data: bytes) -> Iterator[tuple[Part, bytes]]:
        """The parts' content so far; an empty piece opens each part. Raises: ValueError if malformed."""
        self._buffer += data
        while not self.is_complete:
            if self._in_headers:
                if not self._read_headers():
                    return
                if self._part is not None:
                    yield self._part, b""
                continue
            content, is_whole = self._read_content()
            if content and self._part is not None:
                yield self._part, content
            if not is_whole:
                return

    def _read_content(self) -> tuple[bytes, bool]:
        """Content up to the next delimiter, or up to bytes that may be the beginning of one."""
        place = self._buffer.find(self._delimiter)
        end = place + len(self._delimiter)
        if place < 0:
            safe = max(0, len(self._buffer) - len(self._delimiter) + 1)
            content, self._buffer = self._buffer[:safe], self._buffer[safe:]
            return content, False
        if len(self._buffer) < end + 2:
            content, self._buffer = self._buffer[:place], self._buffer[place:]
            return content, False
        content = self._buffer[:place]
        self.is_complete = self._buffer[end : end + 2] == b"--"
        self._in_headers = True
        self._buffer = self._buffer[end:]
        return content, True

    def _read_headers(self) -> bool:
        """Read a part's headers, if they are all there."""
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            if len(self._buffer) > _MAX_HEADER_BYTES:
                raise ValueError(f"a part's headers are longer than {_MAX_HEADER_BYTES} bytes.")
            return False
        self._part = _describe(head.decode("utf-8", "replace"))
        self._buffer, self._in_headers = rest, False
        return True


def _describe(head: str) -> Part:
    for line in head.splitlines():
        if line.lower().startswith("content-disposition:"):
            parameters = dict(_PARAMETER.findall(line))
            if "name" in parameters:
                return Part(parameters["name"], parameters.get("filename"))
    raise ValueError("a part has no Content-Disposition with a name.")
