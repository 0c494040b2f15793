"""Reads and answers at the level of ASGI, and breaks connections, for which ASGI has no message.

To reset a connection without an answer the transport must be closed under the server. uvicorn hands out `send` as a
bound method of its request cycle, whose `transport` is a plain attribute in all its HTTP implementations (h11 and
httptools, uvicorn 0.54); the application leaves that `send` in the scope. SO_LINGER 0 makes the close a TCP reset.
"""

import asyncio
import socket
import struct

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from promptmill.simulator.errors import Headers, invalid
from promptmill.simulator.wire import JsonObject, JsonValue, decode, encode

SERVER_SEND = "simulator.send"  # key of the scope
_LINGER_NONE = struct.pack("ii", 1, 0)


class ConnectionReset(Response):
    """Resets the connection instead of sending a response."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reset it."""
        await abort(scope)


async def abort(scope: Scope) -> None:
    """Reset the connection of a request without an answer."""
    transport: asyncio.Transport = scope[SERVER_SEND].__self__.transport
    connection = transport.get_extra_info("socket")
    if connection is not None and not transport.is_closing():  # the client may have hung up first
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
    transport.abort()
    await asyncio.sleep(0)  # lets the server notice before it asks where the answer is


async def read_body(receive: Receive) -> bytes:
    """The whole request body, or the part that came before the client hung up."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


async def send_response(send: Send, status: int, body: bytes, headers: Headers, *, stall_seconds: float = 0.0) -> None:
    """Send a JSON answer; with a stall, send half of it now and the rest later."""
    length = (b"content-length", b"%d" % len(body))
    start = [(b"content-type", b"application/json"), length, *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    if stall_seconds > 0:
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        await asyncio.sleep(stall_seconds)
        body = body[len(body) // 2 :]
    await send({"type": "http.response.body", "body": body})


def json_response(value: JsonValue, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(encode(value), status, media_type="application/json")


_BAD_JSON = "We could not parse the JSON body of your request."


def parse_body(raw: bytes) -> JsonObject:
    """A body that is a JSON object. Raises: ApiError 400."""
    try:
        body = decode(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise invalid(f"{_BAD_JSON} (HINT: This likely means you aren't using your HTTP library correctly.)")
    return body
