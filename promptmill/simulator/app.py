"""Builds the simulator's ASGI application and routes each path."""

import asyncio

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from promptmill.simulator.answers.engine import ENDPOINTS
from promptmill.simulator.batches.routes import BatchRoutes
from promptmill.simulator.errors import ApiError, no_such_route
from promptmill.simulator.http.admin import admin_routes
from promptmill.simulator.http.azure import PREFIX, serve_azure
from promptmill.simulator.http.connection import SERVER_SEND, abort
from promptmill.simulator.http.files import FileRoutes
from promptmill.simulator.http.models import model_routes
from promptmill.simulator.online.inference import InferenceEndpoint
from promptmill.simulator.state.world import World

_PREFIX = "/v1"


class SimulatorApp:
    """Sends inference straight to its endpoint and other paths through Starlette; every path also works without /v1."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._inference: dict[str, ASGIApp] = {}
        for name in ENDPOINTS:
            endpoint = InferenceEndpoint(world, name)
            self._inference |= {name: endpoint, name.removeprefix(_PREFIX): endpoint}
        self._rest = _make_starlette(world)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the server's start and stop."""
        task = asyncio.current_task()
        if scope["type"] != "http" or task is None:
            await self._rest(scope, receive, send)
            return
        scope[SERVER_SEND] = send
        self._world.requests.add(task)
        try:
            if scope["path"].startswith(PREFIX):
                await serve_azure(self._application, scope, receive, send)
            else:
                await self._application(scope)(scope, receive, send)
        except asyncio.CancelledError:
            if not self._world.is_closing:
                raise
            await abort(scope)
        finally:
            self._world.requests.discard(task)

    def _application(self, scope: Scope) -> ASGIApp:
        """The application that serves one of OpenAI's paths."""
        found = self._inference.get(scope["path"]) if scope["method"] == "POST" else None
        return self._serve_rest if found is None else found

    async def _serve_rest(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._rest(scope, receive, self._with_request_id(send))

    def _with_request_id(self, send: Send) -> Send:
        """A `send` that adds x-request-id; inference adds its own."""
        request_id = (b"x-request-id", b"req_%032x" % self._world.next_serial())

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], request_id]
            await send(message)

        return send_with_id


def _make_starlette(world: World) -> Starlette:
    """Everything but inference."""
    routes = [*model_routes(world), *FileRoutes(world).routes, *BatchRoutes(world).routes]
    prefixed = [Route(_PREFIX + route.path, route.endpoint, methods=list(route.methods or ())) for route in routes]
    return Starlette(
        routes=[*prefixed, *routes, *admin_routes(world)],
        exception_handlers={ApiError: _answer_api_error, HTTPException: _answer_http_error},
    )


async def _answer_api_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, ApiError):
        raise error
    headers = {name.decode(): value.decode() for name, value in error.headers()}
    return Response(error.body(), error.status, headers, "application/json")


async def _answer_http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    body = no_such_route(request.method, request.url.path).body()
    return Response(body, status, media_type="application/json")
