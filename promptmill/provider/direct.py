"""Requests straight to the provider over connections that are kept: ours on asyncio, since aiohttp's take 4 times the CPU.

A bare loop of 15,000 requests took 137 microseconds a request by aiohttp 3.14, 64 by pyreqwest 0.15 (Rust) and 31 by asyncio
and httptools 0.9 (2 cores, Python 3.11, best of two alternating turns, 2026-11-28). What needs a proxy goes by aiohttp
(proxied.py).
Cookies are neither kept nor sent: a gateway that balances by cookie would get all rows at one place.
"""

import asyncio
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from socket import SOCK_STREAM, socket

from aiohappyeyeballs import AddrInfoType, start_connection

from promptmill.provider.connection import Connection
from promptmill.provider.deadlines import Deadlines
from promptmill.provider.raw_answer import RawAnswer, Unreached
from promptmill.provider.request_head import Origin, head_of, origin_of, require_sendable

_IDLE_SECONDS = 15.0  # as aiohttp; servers close after 5 (uvicorn) to 75 s (nginx), and say so
_ADDRESS_SECONDS = 60.0  # that a name's addresses are remembered
_STAGGER_SECONDS = 0.25  # until the next address is tried beside the first; RFC 8305
_CLOSE_SECONDS = 2.0


class Direct:
    """The connections of one run; lives on one event loop."""

    def __init__(
        self,
        headers: Mapping[str, str],
        *,
        most_connections: int,
        timeout_seconds: float,
        connect_seconds: float,
        most_bytes: int,
    ) -> None:
        """`most_bytes`: of a body, as it is sent. Raises: CredentialsError for a header that can't be sent."""
        self._headers = require_sendable(headers)
        self._heads: dict[str, tuple[Origin, bytes]] = {}  # by URL
        self._pools: dict[Origin, _Pool] = {}
        self._places = asyncio.Semaphore(most_connections)
        self._timeout_seconds, self._connect_seconds = timeout_seconds, connect_seconds
        self._most_bytes = most_bytes
        self._deadlines = Deadlines()
        self._loop = asyncio.get_running_loop()

    def set_headers(self, headers: Mapping[str, str]) -> None:
        """Send these from now on. Raises: CredentialsError."""
        self._headers = require_sendable(headers)
        self._heads.clear()

    async def post(self, url: str, body: bytes) -> RawAnswer:
        """As `Carrier.post`."""
        origin, head = self._heads.get(url) or self._head(url)
        async with self._places:
            now = self._loop.time()
            until = now + self._timeout_seconds
            pool = self._pools[origin]
            connection = pool.kept(now) or await self._connect(pool)
            self._deadlines.begin(connection, until)
            try:
                answer = await connection.ask(b"%b%d\r\n\r\n%b" % (head, len(body), body))
            except BaseException:
                connection.abort()
                raise
            finally:
                self._deadlines.end(connection)
            pool.keep(connection, self._loop.time())
            return answer

    async def close(self) -> None:
        """Close all connections."""
        self._deadlines.close()
        for pool in self._pools.values():
            await pool.close()

    def _head(self, url: str) -> tuple[Origin, bytes]:
        try:
            found = self._heads[url] = origin_of(url), head_of(url, self._headers)
        except ValueError as error:
            raise Unreached(f"{error}") from None
        if found[0] not in self._pools:
            self._pools[found[0]] = _Pool(found[0], self._most_bytes)
        return found

    async def _connect(self, pool: "_Pool") -> Connection:
        try:
            async with asyncio.timeout(self._connect_seconds):
                return await pool.connect()
        except TimeoutError:
            raise Unreached(f"no connection to {pool.name} within {self._connect_seconds:g} s") from None
        except (OSError, ValueError) as error:  # ssl's errors are OSErrors
            raise Unreached(f"{type(error).__name__}: {error}; {pool.name}") from None


class _Pool:
    """The connections to one origin."""

    def __init__(self, origin: Origin, most_bytes: int) -> None:
        self._origin, self._most_bytes = origin, most_bytes
        self.name = f"{origin.host}:{origin.port}"
        self._idle: list[Connection] = []  # the newest last, and taken first
        self._open: set[Connection] = set()
        self._tls = _tls() if origin.is_tls else None
        self._addresses: list[AddrInfoType] = []
        self._looked_up_at = float("-inf")  # monotonic seconds
        self._looking_up = asyncio.Lock()

    def kept(self, now: float) -> Connection | None:
        """A connection that is open and was used not long ago; `now` is of the loop's clock."""
        oldest = now - _IDLE_SECONDS
        while self._idle:
            connection = self._idle.pop()
            if connection.is_reusable and connection.idle_since >= oldest:
                return connection
            connection.abort()
        return None

    def keep(self, connection: Connection, now: float) -> None:
        """Take a connection back that has brought an answer; one that was spoiled since then is closed."""
        if connection.is_reusable:
            connection.idle_since = now
            self._idle.append(connection)
        else:
            connection.abort()

    async def connect(self) -> Connection:
        """A new connection. Raises: OSError, ValueError."""
        addresses = await self._look_up()
        reached = await start_connection(addresses, happy_eyeballs_delay=_STAGGER_SECONDS, interleave=1)
        try:
            connection = await self._begin(reached)
        except BaseException:
            reached.close()
            raise
        self._open.add(connection)
        connection.lost.add_done_callback(lambda _: self._open.discard(connection))
        return connection

    async def _begin(self, reached: socket) -> Connection:
        """A connection over a socket that is connected. Raises: OSError, ValueError."""
        loop = asyncio.get_running_loop()
        wire, connection = await loop.create_connection(lambda: Connection(self._most_bytes), sock=reached)
        if self._tls is None:
            return connection
        host = self._origin.host.rstrip(".")
        try:  # not by `create_connection`, which hides what waits to be sent
            secured = await loop.start_tls(wire, connection, self._tls, server_hostname=host)
        except BaseException:
            wire.abort()
            raise
        if secured is None:
            raise ConnectionResetError("the server closed the connection before it was encrypted")
        connection.encrypt(secured)
        return connection

    async def close(self) -> None:
        """Close all connections."""
        for connection in self._open:
            connection.abort()
        if lost := [connection.lost for connection in self._open]:
            await asyncio.wait(lost, timeout=_CLOSE_SECONDS)

    async def _look_up(self) -> list[AddrInfoType]:
        """The host's addresses, another one first each time. Raises: OSError."""
        async with self._looking_up:
            if time.monotonic() - self._looked_up_at > _ADDRESS_SECONDS:
                loop, origin = asyncio.get_running_loop(), self._origin
                self._addresses[:] = await loop.getaddrinfo(origin.host, origin.port, type=SOCK_STREAM)
                self._looked_up_at = time.monotonic()
        found = list(self._addresses)
        self._addresses.append(self._addresses.pop(0))
        return found


def _tls() -> ssl.SSLContext:
    """Certificates are checked as Python's default has it: SSL_CERT_FILE names others than the system's."""
    context = ssl.create_default_context()
    with suppress(NotImplementedError):
        context.set_alpn_protocols(["http/1.1"])
    return context
