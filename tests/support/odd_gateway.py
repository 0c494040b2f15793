"""A gateway before the simulator that has everything at once: each odd manner hits its own rows, once or always."""

import re
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

_ROW = re.compile(rb"text number (\d+)")
_EVERY = 50  # rows: each manner hits 2 % of them
_MANNERS = (
    "error-in-200",
    "html-502",
    "null-usage",
    "fenced-json",
    "list-content",
    "cut-body",
    "firewall-403",
    "retry-after-as-a-date",
)
_PAGE = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_FIREWALL = "<html><head><title>Request blocked</title></head><body>Incident 4711</body></html>"
_ERROR = {"error": {"message": "Internal error encountered.", "code": 500}}
_NO_CREDIT = {"error": {"message": "Insufficient credits. Add more and try again.", "code": 402}}


def manner_of(row: int) -> str:
    """The odd manner that hits a row; empty for most."""
    place = row % _EVERY
    return _MANNERS[place] if place < len(_MANNERS) else ""


class OddGateway:
    """Forwards requests to `upstream`, and keeps books about what came of each row."""

    def __init__(self, upstream: str, broke_at: int) -> None:
        self.url = ""
        self.session: aiohttp.ClientSession
        self.asked: Counter[int] = Counter()  # row → requests for it
        self.told: dict[int, dict[str, Any]] = {}  # row → the usage that its delivered answer tells
        self.delivered: set[int] = set()  # rows whose answer went out whole
        self.again: list[int] = []  # rows that were asked for after that
        self.met: Counter[str] = Counter()  # manner → times
        self._upstream = upstream
        self.broke_at: int | None = broke_at  # after so many requests there is no credit; None: somebody has added some

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One request, answered as its row's manner wants it."""
        body = await request.read()
        found = _ROW.findall(body)
        if not found:
            return web.json_response({"object": "list", "data": []})
        row = int(found[-1])
        self.asked[row] += 1
        if row in self.delivered:
            self.again.append(row)
        if self._is_broke():
            self.met["no-credit-402"] += 1
            return web.json_response(_NO_CREDIT, status=402)
        manner = manner_of(row)
        if manner and (manner == "firewall-403" or self.asked[row] == 1):
            self.met[manner] += 1
            if (refused := _refusal(manner)) is not None:
                return refused
        else:
            manner = ""
        return await self._forward(row, manner, body)

    def _is_broke(self) -> bool:
        return self.broke_at is not None and self.asked.total() > self.broke_at

    async def _forward(self, row: int, manner: str, body: bytes) -> web.Response:
        headers = {"Authorization": "Bearer test", "Content-Type": "application/json"}
        async with self.session.post(self._upstream, data=body, headers=headers) as came:
            answer = orjson.loads(await came.read())
        if manner == "cut-body":
            whole = orjson.dumps(answer)
            return web.Response(body=whole[: len(whole) // 2], content_type="application/json")
        message = answer["choices"][0]["message"]
        if manner == "null-usage":
            answer["usage"] = None
        elif manner == "fenced-json":
            message["content"] = f"```json\n{message['content']}\n```"
        elif manner == "list-content":
            message["content"] = [{"type": "text", "text": message["content"]}]
        self.delivered.add(row)
        if answer["usage"] is not None:
            self.told[row] = answer["usage"]
        return web.Response(body=orjson.dumps(answer), content_type="application/json")


def _refusal(manner: str) -> web.Response | None:
    """The answer of a manner that forwards nothing."""
    if manner == "error-in-200":
        return web.json_response(_ERROR)
    if manner == "html-502":
        return web.Response(status=502, text=_PAGE, content_type="text/html")
    if manner == "firewall-403":
        return web.Response(status=403, text=_FIREWALL, content_type="text/html")
    if manner == "retry-after-as-a-date":
        headers = {"Retry-After": formatdate(time.time() + 1, usegmt=True)}
        return web.json_response({"error": {"message": "Too many requests"}}, status=429, headers=headers)
    return None


@asynccontextmanager
async def odd_gateway(upstream: str, broke_at: int) -> AsyncGenerator[OddGateway]:
    """A running gateway before the simulator at `upstream`."""
    gateway = OddGateway(f"{upstream}/chat/completions", broke_at)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", gateway.answer)
    async with TestServer(app) as server, aiohttp.ClientSession() as gateway.session:
        gateway.url = str(server.make_url("/v1"))
        yield gateway
