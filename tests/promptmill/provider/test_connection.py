"""Requests travel over connections of our own: whatever a server does to them, an attempt ends as it should."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from promptmill.errors import CredentialsError
from promptmill.provider import transport
from promptmill.provider.connection import Connection
from promptmill.provider.request_head import Origin, head_of, origin_of
from promptmill.provider.transport import Credentials, RawAnswer, Transport, TransportError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
Act = Callable[["Server", asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """A server that does as it is told, and what it saw."""

    act: Act
    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list[bytes])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Do so with each request of a connection."""
        self.connections += 1
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                await self.act(self, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(act: Act, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(act)
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls) as listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server


def saying(*pieces: bytes, closes: bool = False) -> Act:
    async def act(_: Server, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        if closes:
            writer.close()

    return act


def transport_to(port: int, scheme: str = "http", host: str = "127.0.0.1", seconds: float = 5.0) -> Transport:
    return Transport(Credentials("sk-secret-key", f"{scheme}://{host}:{port}/v1"), "chat.completions", 4, seconds)


def ask(act: Act, times: int = 1, seconds: float = 5.0) -> tuple[list[RawAnswer | TransportError], Server]:
    """What came of requests one after the other."""

    async def scenario() -> tuple[list[RawAnswer | TransportError], Server]:
        found: list[RawAnswer | TransportError] = []
        async with serving(act) as server, transport_to(server.port, seconds=seconds) as transport:
            for _ in range(times):
                try:
                    found.append(await transport.post(b'{"model":"m"}'))
                except TransportError as error:
                    found.append(error)
        return found, server

    return asyncio.run(scenario())


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("pieces", "closes"),
    [
        pytest.param([OK], False, id="length"),
        pytest.param([bytes([byte]) for byte in OK], False, id="byte-by-byte"),
        pytest.param([CHUNKED + b"1\r\n{\r\n", b"1\r\n}\r\n0\r\n\r\n"], False, id="chunks"),
        pytest.param([CHUNKED + b"2\r\n{}\r\n0\r\nRetry-After: 9999\r\n\r\n"], False, id="trailer"),
        pytest.param(
            [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nRetry-After: 9\r\n\r\n" + OK],
            False,
            id="interim",
        ),
        pytest.param([b"HTTP/1.1 200 OK\r\n\r\n{", b"}"], True, id="until-the-end"),
        pytest.param([b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}"], False, id="http-1.0"),
        pytest.param([b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}"], False, id="line-feeds-alone"),
        pytest.param([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"], True, id="whole-before-its-length"),
        pytest.param([CHUNKED + b"2\r\n{}\r\n"], True, id="without-a-last-chunk"),
        pytest.param([CHUNKED + b"2\r\n{}\r\nno chunk\r\n"], True, id="whole-before-a-broken-chunk"),
    ],
)
def test_answer_is_read_however_it_is_framed(pieces: list[bytes], closes: bool) -> None:
    (answer,), _ = ask(saying(*pieces, closes=closes))

    assert isinstance(answer, RawAnswer)
    assert (answer.status, answer.content) == (200, b"{}")
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize(
    ("pieces", "says"),
    [
        pytest.param([], "the server closed it", id="nothing"),
        pytest.param([b"HTTP/1.1 200 OK\r\nContent-"], "the server closed it", id="half-a-head"),
        pytest.param([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"], "the server closed it", id="half-a-body"),
        pytest.param([b"SSH-2.0-OpenSSH_9.2\r\n"], "no HTTP", id="another-protocol"),
        pytest.param(
            [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"], "", id="upgrade"
        ),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\n", b"X: " + b"x" * 300_000], "more than 262,144 bytes", id="endless-headers"
        ),
    ],
)
def test_broken_answer_is_a_broken_connection_whose_request_was_sent(pieces: list[bytes], says: str) -> None:
    (error,), _ = ask(saying(*pieces, closes=True))

    assert isinstance(error, TransportError)
    assert (error.kind, error.was_sent) == ("connection", True)
    assert "the connection broke" in str(error)
    assert says in str(error)


def test_what_follows_a_body_is_bounded_as_the_body_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MOST_ANSWER_BYTES", 100_000)

    (error,), _ = ask(saying(CHUNKED + b"2\r\n{}\r\n0\r\nX: " + b"x" * 300_000), seconds=1.0)

    assert isinstance(error, TransportError)
    assert (error.kind, error.was_sent) == ("invalid_response", True)


def test_first_of_two_headers_counts() -> None:
    (answer,), _ = ask(saying(b"HTTP/1.1 200 OK\r\nRETRY-After: 1\r\nretry-after: 2\r\nContent-Length: 2\r\n\r\n{}"))

    assert isinstance(answer, RawAnswer)
    assert answer.headers["retry-after"] == "1"


def test_connection_is_kept_for_the_next_request() -> None:
    answers, server = ask(saying(OK), times=5)

    assert [isinstance(answer, RawAnswer) for answer in answers] == [True] * 5
    assert server.connections == 1


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(saying(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")), id="the-server-will-close"),
        pytest.param(saying(OK, closes=True), id="the-server-closed"),
        pytest.param(saying(OK + OK), id="a-second-answer-at-once"),
        pytest.param(saying(OK, OK), id="a-second-answer-later"),
    ],
)
def test_spoiled_connection_is_used_for_no_other_request(act: Act) -> None:
    async def scenario() -> tuple[list[RawAnswer], Server]:
        async with serving(act) as server, transport_to(server.port) as transport:
            answers = [await transport.post(b"{}")]
            await asyncio.sleep(0.1)
            return [*answers, await transport.post(b"{}")], server

    answers, server = asyncio.run(scenario())

    assert [answer.content for answer in answers] == [b"{}", b"{}"]
    assert (server.connections, len(server.requests)) == (2, 2)


@pytest.mark.parametrize("more", [pytest.param(OK, id="another-answer"), pytest.param(b"no HTTP", id="no-http")])
def test_spoiled_connection_is_closed_at_once(more: bytes) -> None:
    async def scenario() -> bool:
        is_closed = asyncio.Event()

        async def watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"{}")
            writer.write(OK + more)
            with suppress(ConnectionError):
                await reader.read()
            is_closed.set()
            writer.close()

        async with await asyncio.start_server(watch, "127.0.0.1", 0) as listening:
            async with transport_to(listening.sockets[0].getsockname()[1]) as transport:
                await transport.post(b"{}")
                with suppress(TimeoutError):
                    await asyncio.wait_for(is_closed.wait(), 1.0)
                return is_closed.is_set()

    assert asyncio.run(scenario())


def test_request_that_gets_no_answer_in_time_ends_alone() -> None:
    async def hang_first(server: Server, writer: asyncio.StreamWriter) -> None:
        if len(server.requests) > 1:
            writer.write(OK)

    async def scenario() -> list[RawAnswer | BaseException]:
        async with serving(hang_first) as server, transport_to(server.port, seconds=0.3) as transport:
            hung = asyncio.create_task(transport.post(b"{}"))
            await asyncio.sleep(0.05)
            others = [await transport.post(b"{}") for _ in range(3)]
            return [*others, *await asyncio.gather(hung, return_exceptions=True)]

    *others, late = asyncio.run(scenario())

    assert [isinstance(other, RawAnswer) for other in others] == [True] * 3
    assert isinstance(late, TransportError)
    assert (late.kind, late.was_sent, str(late)) == ("timeout", True, "no answer within 0.3 s")


def test_connection_of_a_cancelled_request_is_used_for_no_other() -> None:
    async def answer_late(_: Server, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        writer.write(OK)

    async def scenario() -> int:
        async with serving(answer_late) as server, transport_to(server.port) as transport:
            cancelled = asyncio.create_task(transport.post(b"{}"))
            await asyncio.sleep(0.05)
            cancelled.cancel()
            await asyncio.gather(cancelled, return_exceptions=True)
            await transport.post(b"{}")
            return server.connections

    assert asyncio.run(scenario()) == 2


@pytest.mark.parametrize(
    ("scheme", "host", "says"),
    [
        pytest.param("http", "127.0.0.1", "ConnectionRefusedError", id="refused"),
        pytest.param("http", "name.invalid", "name.invalid", id="unknown-name"),
        pytest.param("http", "a" * 70 + ".example", "aaa", id="no-name"),
    ],
)
def test_request_that_reaches_nobody_was_not_sent(scheme: str, host: str, says: str) -> None:
    async def scenario() -> None:
        async with transport_to(1, scheme, host) as transport:
            await transport.post(b"{}")

    with pytest.raises(TransportError, match=r"the provider can't be reached \(") as lost:
        asyncio.run(scenario())
    assert (lost.value.kind, lost.value.was_sent) == ("connection", False)
    assert says in str(lost.value)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for localhost, with its key in the same file."""
    made = tmp_path / "tls.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    files = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(tmp_path / "key.pem"), "-out", str(made)]
    subprocess.run([*command.split(), *files], capture_output=True, check=True)
    made.write_bytes(made.read_bytes() + (tmp_path / "key.pem").read_bytes())
    return made


@pytest.mark.parametrize(
    ("host", "is_trusted"),
    [
        pytest.param("localhost", True, id="trusted"),
        pytest.param("localhost", False, id="untrusted"),
        pytest.param("127.0.0.1", True, id="of-another-name"),
    ],
)
def test_certificate_is_checked_before_anything_is_sent(
    host: str, is_trusted: bool, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)

    async def scenario() -> tuple[list[RawAnswer | BaseException], int]:
        async with serving(saying(OK), tls) as server, transport_to(server.port, "https", host) as transport:
            found = await asyncio.gather(*(transport.post(b"{}") for _ in range(3)), return_exceptions=True)
            return found, len(server.requests)

    found, sent = asyncio.run(scenario())

    if is_trusted and host == "localhost":
        assert [answer.content for answer in found if isinstance(answer, RawAnswer)] == [b"{}"] * 3
        return
    assert sent == 0
    assert all(isinstance(error, TransportError) and not error.was_sent for error in found)
    assert "certificate" in str(found[0])


def test_connection_on_which_a_request_still_waits_is_used_for_no_other(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)

    async def refuse_unread(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
            await asyncio.sleep(0.1)
        writer.close()

    async def scenario() -> list[bytes]:
        async with await asyncio.start_server(refuse_unread, "127.0.0.1", 0, ssl=tls) as listening:
            async with transport_to(listening.sockets[0].getsockname()[1], "https", "localhost") as transport:
                return [(await transport.post(b"x" * size)).content for size in (32 * 2**20, 2)]

    assert asyncio.run(scenario()) == [b"{}", b"{}"]


def test_requests_go_through_the_proxy_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    async def forward(request: web.BaseRequest) -> web.Response:
        seen.append(f"{request.method} {request.raw_path} {request.headers['Authorization']}")
        return web.json_response({})

    async def scenario() -> RawAnswer:
        runner = web.ServerRunner(web.Server(forward))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{runner.addresses[0][1]}")
        monkeypatch.setenv("no_proxy", "")
        try:
            async with transport_to(80, host="provider.invalid") as transport:
                return await transport.post(b"{}")
        finally:
            await runner.cleanup()

    assert asyncio.run(scenario()).content == b"{}"
    assert seen == ["POST http://provider.invalid/v1/chat/completions Bearer sk-secret-key"]


def test_idle_connection_is_left_after_a_while() -> None:
    async def scenario() -> int:
        async with serving(saying(OK)) as server, transport_to(server.port) as transport:
            await transport.post(b"{}")
            loop, now = asyncio.get_running_loop(), asyncio.get_running_loop().time()
            loop.time = lambda: now + 16
            await transport.post(b"{}")
            return server.connections

    assert asyncio.run(scenario()) == 2


@pytest.mark.parametrize(
    ("url", "origin", "first_lines"),
    [
        pytest.param(
            "https://h.example/v1/x",
            Origin(True, "h.example", 443),
            ["POST /v1/x HTTP/1.1", "Host: h.example"],
            id="https",
        ),
        pytest.param(
            "http://h.example:8000/a?b=c%20d e",
            Origin(False, "h.example", 8000),
            ["POST /a?b=c%20d%20e HTTP/1.1", "Host: h.example:8000"],
            id="port-and-query",
        ),
        pytest.param("http://[::1]:80/", Origin(False, "::1", 80), ["POST / HTTP/1.1", "Host: [::1]"], id="ipv6"),
        pytest.param(
            "https://bücher.example/ü",
            Origin(True, "xn--bcher-kva.example", 443),
            ["POST /%C3%BC HTTP/1.1", "Host: xn--bcher-kva.example"],
            id="beyond-ascii",
        ),
    ],
)
def test_address_is_written_as_http_has_it(url: str, origin: Origin, first_lines: list[str]) -> None:
    head = head_of(url, {"Accept": "a", "accept": "b", "Content-Length": "7", "Transfer-Encoding": "chunked"})

    assert origin_of(url) == origin
    assert head.decode().split("\r\n") == [*first_lines, "accept: b", "Content-Length: "]


def test_header_with_a_line_break_is_refused_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-A: one\rX-B: two")

    async def scenario() -> None:
        transport_to(1)

    with pytest.raises(CredentialsError, match="has a line break"):
        asyncio.run(scenario())


def test_what_comes_unasked_closes_the_connection() -> None:
    async def scenario() -> bool:
        connection = Connection(1_000)
        async with serving(saying(OK)) as server:
            await asyncio.get_running_loop().create_connection(lambda: connection, "127.0.0.1", server.port)
            connection.data_received(OK)
            await asyncio.wait_for(asyncio.shield(connection.lost), 5)
            return connection.is_reusable

    assert asyncio.run(scenario()) is False


def test_connection_that_the_server_just_closed_is_used_for_no_other_request() -> None:
    async def scenario() -> bool:
        connection = Connection(1_000)
        async with serving(saying(OK)) as server:
            await asyncio.get_running_loop().create_connection(lambda: connection, "127.0.0.1", server.port)
            connection.eof_received()
            is_reusable = connection.is_reusable
            connection.abort()
            await connection.lost
            return is_reusable

    assert asyncio.run(scenario()) is False
