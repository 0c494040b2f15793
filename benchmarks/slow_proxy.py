"""A proxy that makes each HTTP request to a server wait, and notes when it came; the bytes pass unchanged."""

import asyncio
import re
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

_REQUEST = re.compile(rb"((?:GET|HEAD|PUT|PATCH|POST|DELETE) [^ \r\n]+) HTTP/1\.1\r\n")


@dataclass(slots=True)
class Seen:
    """The requests that came through a proxy."""

    port: int = 0
    times: list[float] = field(default_factory=list[float])  # seconds of the monotonic clock
    lines: list[str] = field(default_factory=list[str])  # of each, method and path

    def before(self, moment: float) -> int:
        """How many came before a moment."""
        return sum(found < moment for found in self.times)


@contextmanager
def slow_proxy(port: int, seconds: float) -> Generator[Seen]:
    """A proxy before a server on this machine, in a thread of this process."""
    seen, loop, is_ready = Seen(), asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        server = await asyncio.start_server(lambda *ends: _connect(port, seconds, seen, *ends), "127.0.0.1", 0)
        seen.port = server.sockets[0].getsockname()[1]
        is_ready.set()

    def run() -> None:
        loop.create_task(serve())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    is_ready.wait()
    try:
        yield seen
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _connect(
    port: int, seconds: float, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    from_server, to_server = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.gather(_pass(reader, to_server, seen, seconds), _pass(from_server, writer, None, 0))


async def _pass(source: asyncio.StreamReader, target: asyncio.StreamWriter, seen: Seen | None, seconds: float) -> None:
    try:
        while data := await source.read(1 << 16):
            found = [] if seen is None else [line.decode() for line in _REQUEST.findall(data)]
            if found and seen is not None:
                seen.times += [time.monotonic()] * len(found)
                seen.lines += found
                await asyncio.sleep(seconds)
            target.write(data)
            await target.drain()
    except ConnectionError:
        pass  # the other side says so as well
    finally:
        target.close()
