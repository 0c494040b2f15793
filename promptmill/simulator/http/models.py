"""Serves GET /models: the list of the provider's models."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from promptmill.simulator.errors import no_such_model
from promptmill.simulator.http.connection import json_response
from promptmill.simulator.state.world import World
from promptmill.simulator.wire import JsonObject

_CREATED = 1_764_000_000  # seconds since epoch; the same for all


def model_routes(world: World) -> list[Route]:
    """The list and the single model."""

    async def list_models(request: Request) -> Response:
        world.authorize_request(request)
        return json_response({"object": "list", "data": [_describe(name) for name in world.options.models]})

    async def show_model(request: Request) -> Response:
        world.authorize_request(request)
        name = request.path_params["name"]
        if name not in world.options.models:
            raise no_such_model(name)
        return json_response(_describe(name))

    return [Route("/models", list_models), Route("/models/{name:path}", show_model)]


def _describe(name: str) -> JsonObject:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "simulator"}
