"""Serves the simulator at Azure's addresses: the same service behind other paths, keys and answers.

| path | our path |
|---|---|
| `/openai/v1/…` | `/v1/…` |
| `/openai/deployments/NAME/…?api-version=…` | `/v1/…`, for the model NAME |
| `/openai/…?api-version=…` | `/v1/…`: files, batches, models, responses |

The key comes in the header `api-key`, or as a bearer where it is an Entra ID token. Answers name what the content filter
found. Shapes: Azure OpenAI REST reference of api-version 2024-10-21, as remembered on 2026-11-27.
"""

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from promptmill.simulator.errors import ApiError
from promptmill.simulator.http.connection import read_body, send_response
from promptmill.simulator.wire import JsonObject, JsonValue, decode, encode

PREFIX = "/openai/"
_V1 = "/openai/v1/"
_DEPLOYMENTS = "/openai/deployments/"
_SAFE: JsonObject = {"filtered": False, "severity": "safe"}
_CATEGORIES = ("hate", "self_harm", "sexual", "violence")


async def serve_azure(choose: Callable[[Scope], ASGIApp], scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one request at Azure's address by the application that `choose` finds for OpenAI's."""
    try:
        path, model = _path_of(scope)
    except ApiError as error:
        await send_response(send, error.status, error.body(), error.headers())
        return
    scope["path"], scope["raw_path"] = path, path.encode()
    scope["headers"] = _with_authorization(scope["headers"])
    if model is not None:
        receive = _with_model(await read_body(receive), model, receive)
    await choose(scope)(scope, receive, _Filtering(send) if scope["method"] == "POST" and "chat" in path else send)


def _path_of(scope: Scope) -> tuple[str, str | None]:
    """OpenAI's path, and the deployment that Azure's names. Raises: ApiError 404."""
    path: str = scope["path"]
    if path.startswith(_V1):
        return path.removeprefix("/openai"), None
    if b"api-version=" not in scope["query_string"]:
        raise ApiError(404, "Resource not found", type="", code="404")
    if not path.startswith(_DEPLOYMENTS):
        return f"/v1/{path.removeprefix(PREFIX)}", None
    name, _, rest = path.removeprefix(_DEPLOYMENTS).partition("/")
    return f"/v1/{rest}", name


def _with_authorization(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers with an `api-key` as the bearer that the rest of the simulator knows."""
    key = next((value for name, value in headers if name == b"api-key"), None)
    if key is None:
        return headers
    return [
        *((name, value) for name, value in headers if name != b"authorization"),
        (b"authorization", b"Bearer " + key),
    ]


def _with_model(raw: bytes, model: str, receive: Receive) -> Receive:
    """A `receive` that gives the body with the deployment as its model, and then all other messages."""
    try:
        body = decode(raw)
    except ValueError:
        body = None
    content = encode({**body, "model": model}) if isinstance(body, dict) else raw
    left = [{"type": "http.request", "body": content, "more_body": False}]

    async def next_message() -> Message:
        return left.pop() if left else await receive()

    return next_message


class _Filtering:
    """A `send` that adds what Azure's filter found to an answer."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message = {}

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 200:
            self._start = message
        elif message["type"] == "http.response.body" and self._start and not message.get("more_body"):
            body = _annotated(message["body"])
            others = [(name, value) for name, value in self._start["headers"] if name != b"content-length"]
            await self._send({**self._start, "headers": [*others, (b"content-length", b"%d" % len(body))]})
            await self._send({**message, "body": body})
        elif self._start:  # a body in pieces passes unchanged
            start, self._start = self._start, {}
            await self._send(start)
            await self._send(message)
        else:
            await self._send(message)


def _annotated(raw: bytes) -> bytes:
    """A chat answer with the results of the filter, for the prompt and for each choice."""
    try:
        payload = decode(raw)
    except ValueError:
        return raw
    choices = payload.get("choices") if isinstance(payload, dict) else None
    if not isinstance(payload, dict) or not isinstance(choices, list):
        return raw
    safe: JsonObject = dict.fromkeys(_CATEGORIES, _SAFE)
    prompt: list[JsonValue] = [{"prompt_index": 0, "content_filter_results": safe}]
    return encode({**payload, "prompt_filter_results": prompt, "choices": [_filtered(choice) for choice in choices]})


def _filtered(choice: JsonValue) -> JsonValue:
    if not isinstance(choice, dict):
        return choice
    results: JsonObject = dict.fromkeys(_CATEGORIES, _SAFE)
    if choice.get("finish_reason") == "content_filter":
        results["violence"] = {"filtered": True, "severity": "medium"}
    return {**choice, "content_filter_results": results}
