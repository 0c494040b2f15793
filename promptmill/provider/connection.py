"""One connection to a provider: HTTP/1.1, one request at a time, its answers read by llhttp (httptools).

It reads what a client must read and servers send: interim answers (1xx), chunks with trailers, bodies that end with the
connection. What comes unasked spoils the connection: it would be taken for the answer to the next request.
Framing: RFC 9112, read 2026-11-28. Leniencies: those of aiohttp's parser, which is llhttp too.
"""

import asyncio
import socket
from typing import cast

import httptools

from promptmill.provider.raw_answer import AnswerTooLarge, Broken, RawAnswer

_MOST_HEAD_BYTES = 256 * 1024  # of status and headers; aiohttp and browsers stop at about as many
_FRAMING = ("content-length", "transfer-encoding")  # without either, a body ends with the connection


class Connection(asyncio.Protocol):
    """A connection that is open until it is lost; the pool asks over it, and keeps it while `is_reusable`."""

    __slots__ = (
        "_answer",
        "_content",
        "_has_head",
        "_head_bytes",
        "_headers",
        "_loop",
        "_most_bytes",
        "_parser",
        "_received",
        "_size",
        "_transport",
        "_wire",
        "idle_since",
        "is_reusable",
        "lost",
    )

    def __init__(self, most_bytes: int) -> None:
        """`most_bytes`: of a body, as it is sent."""
        self._most_bytes = most_bytes
        self._answer: asyncio.Future[RawAnswer] | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self.is_reusable = False
        self.idle_since = 0.0  # seconds of the loop's clock
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self._begin()

    def ask(self, request: bytes) -> asyncio.Future[RawAnswer]:
        """Send a whole request; its answer, or Broken or AnswerTooLarge."""
        self._begin()
        self._answer = self._loop.create_future()
        self._transport.write(request)
        return self._answer

    def fail(self, error: Exception) -> None:
        """End the wait for an answer, and the connection."""
        self._end(error=error)

    def abort(self) -> None:
        """Close at once, whatever is on its way."""
        self.is_reusable = False
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self._transport = self._wire = cast(asyncio.Transport, transport)
        if (opened := transport.get_extra_info("socket")) is not None:  # answers may be minutes in coming
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._parser = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self.is_reusable = True

    def encrypt(self, transport: asyncio.Transport) -> None:
        """Ask through this transport from now on; it writes to the one that opened the connection."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self._answer is None or self._parser is None:
            self.abort()
            return
        self._received += len(data)
        if not self._has_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._break(f"it is no HTTP: {error}")
        if not self._has_head and self._head_bytes > _MOST_HEAD_BYTES:
            self._break(f"its headers have more than {_MOST_HEAD_BYTES:,} bytes")
        elif self._size > self._most_bytes or self._received - self._size > self._most_bytes:  # as of a trailer
            self._end(error=AnswerTooLarge())

    def eof_received(self) -> None:
        """The server sends no more: asyncio closes the connection at the loop's next turn, and nobody may ask before."""
        self.is_reusable = False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed; a body without a length is whole now."""
        self.is_reusable = False
        if self._answer is not None and exc is None and self._has_head and not any(map(self._headers.get, _FRAMING)):
            self._end(self._so_far())
        else:
            self._break("the server closed it" if exc is None else f"{type(exc).__name__}: {exc}")
        self._parser = None
        if not self.lost.done():
            self.lost.set_result(None)

    def on_message_begin(self) -> None:
        """Called by the parser."""
        if self._answer is None:  # a second answer to one request
            self.is_reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser, for trailers too, which say nothing that we need."""
        if not self._has_head:
            self._headers.setdefault(name.decode("latin-1").lower(), value.decode("utf-8", "surrogateescape"))

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self._has_head = True

    def on_body(self, piece: bytes) -> None:
        """Called by the parser."""
        self._size += len(piece)
        if self._size <= self._most_bytes:
            self._content.append(piece)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        if self._answer is None or self._parser is None or self._size > self._most_bytes:
            return
        if self._parser.get_status_code() < 200:
            self._begin()
            return
        if not self._parser.should_keep_alive() or self._is_sending():
            self.is_reusable = False
        self._end(self._so_far())

    def _is_sending(self) -> bool:
        """Whether a part of the request still waits; what is encrypted has left TLS's transport, which counts it no more."""
        return bool(self._transport.get_write_buffer_size() or self._wire.get_write_buffer_size())

    def _begin(self) -> None:
        """Nothing of an answer is there."""
        self._headers: dict[str, str] = {}
        self._content: list[bytes] = []
        self._has_head = False
        self._head_bytes = self._received = self._size = 0

    def _so_far(self) -> RawAnswer:
        assert self._parser is not None  # noqa: S101 - only called for an answer whose status was read
        content = self._content[0] if len(self._content) == 1 else b"".join(self._content)
        return RawAnswer(self._parser.get_status_code(), self._headers, content)

    def _break(self, reason: str) -> None:
        if self._answer is not None:
            self._end(error=Broken(reason, self._so_far() if self._has_head else None))

    def _end(self, answer: RawAnswer | None = None, error: Exception | None = None) -> None:
        """Hand the answer over, or why there is none."""
        waiting, self._answer = self._answer, None
        if waiting is not None and not waiting.done():
            if answer is not None:
                waiting.set_result(answer)
            elif error is not None:
                waiting.set_exception(error)
        if error is not None or not self.is_reusable:
            self.abort()
