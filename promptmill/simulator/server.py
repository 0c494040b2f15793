"""Runs the simulator as a server: in a thread for tests and demos, in the foreground for a terminal.

We bind the socket before the server runs, so the address is known at once and the first request can't come too early.
"""

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Generator
from types import TracebackType
from typing import Any, Self
from urllib.request import Request, urlopen

import uvicorn

from promptmill.simulator.app import SimulatorApp
from promptmill.simulator.options import SimulatorOptions, with_changes
from promptmill.simulator.state.world import World
from promptmill.simulator.wire import JsonObject, JsonValue, decode, encode

_BACKLOG = 2048  # connections waiting to be accepted
_KEEP_ALIVE_SECONDS = 120  # longer than clients keep idle connections, so that only the wanted resets happen
_CONTROL_TIMEOUT_SECONDS = 30.0
_STOP_TIMEOUT_SECONDS = 10.0
_GRACE_SECONDS = 2  # for requests in flight when the server stops
_LOOK_SECONDS = 0.005  # between two looks whether they ended
_DATE_SECONDS = 1.0  # the `date` of answers has whole seconds


class Simulator:
    """A simulator in a background thread; a context manager, or `start()` and `stop()`."""

    def __init__(self, options: SimulatorOptions | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.options = options or SimulatorOptions()
        self._address = (host, port)  # port 0: a free one
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._origin = ""

    @property
    def base_url(self) -> str:
        """The address for clients; ends in /v1."""
        return f"{self._origin}/v1"

    def start(self) -> Self:
        """Start to serve; returns when the server accepts requests."""
        listener = _listen(*self._address)
        self._origin = _origin(listener)
        self._server = _Server(World(self.options))
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name="simulator", daemon=True)
        self._thread.start()
        self.ledger()
        return self

    def stop(self) -> None:
        """Stop at once; requests in flight have their connections reset."""
        if self._server is not None and self._thread is not None:
            self._server.stop()
            self._thread.join(_STOP_TIMEOUT_SECONDS)
        self._server = self._thread = None

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def ledger(self, *, detail: bool = False) -> dict[str, Any]:
        """The provider's books; with detail, how often each body was billed."""
        return self._control("GET", f"ledger?detail={int(detail)}")

    def timeline(self) -> dict[str, Any]:
        """Requests admitted and tokens charged, second by second."""
        return self._control("GET", "timeline")

    def configure(self, **changes: JsonValue) -> None:
        """Change options while running. Raises: ValueError for an unknown name or an impossible value."""
        self.options = with_changes(self.options, changes)
        self._control("POST", "config", changes)

    def reset(self) -> None:
        """Forget bills, counts, files and batches."""
        self._control("POST", "reset")

    def _control(self, method: str, page: str, body: JsonObject | None = None) -> JsonObject:
        data = None if body is None else encode(body)
        request = Request(f"{self._origin}/_simulator/{page}", data, method=method)
        with urlopen(request, timeout=_CONTROL_TIMEOUT_SECONDS) as answer:
            value = decode(answer.read())
        if not isinstance(value, dict):
            raise TypeError(f"/_simulator/{page} answered {value!r} and not an object.")
        return value


def serve(options: SimulatorOptions, host: str = "127.0.0.1", port: int = 8080) -> None:
    """Serve in the foreground until SIGINT or SIGTERM; prints one line with the address."""
    listener = _listen(host, port)
    print(f"Simulator on {_origin(listener)}/v1", flush=True)
    asyncio.run(_serve_until_signal(_Server(World(options)), listener))


async def _serve_until_signal(server: "_Server", listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.stop)
    await server.serve([listener])


class _Server(uvicorn.Server):
    """uvicorn without its signal handling, and with a stop that waits neither for hanging requests nor by the clock.

    uvicorn 0.54 looks ten times a second whether it should stop and then waits a tenth of a second more, which took 0.2
    seconds at each stop (median of 15, 2026-11-28) and takes 0.5 ms now. 405 tests start a simulator of their own.
    """

    def __init__(self, world: World) -> None:
        config = uvicorn.Config(
            SimulatorApp(world),
            access_log=False,
            log_config=None,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        )
        super().__init__(config)
        self._world = world
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until stopped."""
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    async def main_loop(self) -> None:
        """Renew the date of answers until `stop` is called, and end then at once."""
        while not self.should_exit:
            await self.on_tick(0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DATE_SECONDS):
                    await self._stopped.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close what is idle, and wait no longer than what is under way needs."""
        for listening in (*self.servers, *(sockets or [])):
            listening.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await asyncio.sleep(0)  # idle connections are gone when the loop has come round
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_SECONDS):
                while self.server_state.connections or self.server_state.tasks:
                    await asyncio.sleep(_LOOK_SECONDS)
        for task in self.server_state.tasks:
            task.cancel()
        await self.lifespan.shutdown()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to the caller: uvicorn would raise them again after a clean stop."""
        yield

    def stop(self) -> None:
        """Stop, from any thread."""
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._close)

    def _close(self) -> None:
        self._world.close()
        self._stopped.set()


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Its protocol is named because asyncio sets TCP_NODELAY only on sockets that name it; with
    `socket.create_server`, which doesn't, 100 clients got 2,100 answers a second and not 4,600.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener


def _origin(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
