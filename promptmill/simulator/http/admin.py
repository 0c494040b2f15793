"""The simulator's own pages under /_simulator: the books, the timeline, new options, a fresh start. No key is asked."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from promptmill.simulator.errors import invalid
from promptmill.simulator.http.connection import json_response, parse_body
from promptmill.simulator.state.world import World


def admin_routes(world: World) -> list[Route]:
    """The four pages."""

    async def show_ledger(request: Request) -> Response:
        return json_response(world.ledger.as_json(detail=request.query_params.get("detail") == "1"))

    async def show_timeline(_: Request) -> Response:
        return json_response(world.ledger.timeline())

    async def reset(_: Request) -> Response:
        world.reset()
        return json_response({"reset": True})

    async def configure(request: Request) -> Response:
        changes = parse_body(await request.body())
        try:
            world.configure(changes)
        except (ValueError, TypeError) as error:
            raise invalid(str(error)) from error
        return json_response({"configured": [*changes]})

    return [
        Route("/_simulator/ledger", show_ledger),
        Route("/_simulator/timeline", show_timeline),
        Route("/_simulator/reset", reset, methods=["POST"]),
        Route("/_simulator/config", configure, methods=["POST"]),
    ]
