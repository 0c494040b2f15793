"""A provider that costs next to no CPU: every request gets the same answer, whatever it asks.

`python -m benchmarks.bare_server PORT`. For measurements where the simulator, which counts, meters and keeps books, would
take as much CPU as the client. It reads HTTP/1.1 with Content-Length, as our transport writes it, and nothing else.
"""

import asyncio
import json
import re
import sys

_CONTENT = json.dumps({"label": "positive", "confidence": 0.9, "reason": "the battery lasts all day"})
_ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "gpt-6-luna",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": _CONTENT, "refusal": None},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 85, "completion_tokens": 17, "total_tokens": 102},
    }
).encode()
_MODELS = b'{"object":"list","data":[{"id":"gpt-6-luna","object":"model"}]}'
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def _whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


_POST, _GET = _whole(_ANSWER), _whole(_MODELS)


class _Connection(asyncio.Protocol):
    """One connection that is kept alive."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request once its body is there."""
        self._read = self._read + data if self._read else data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            found = _LENGTH.search(self._read, 0, end)
            whole = end + 4 + (int(found[1]) if found is not None else 0)
            if len(self._read) < whole:
                return
            assert self._transport is not None
            self._transport.write(_GET if self._read.startswith(b"GET") else _POST)
            self._read = self._read[whole:]


async def main(port: int) -> None:
    """Serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
