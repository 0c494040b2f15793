"""A redirect on the same host is followed with method and body; another host gets neither key nor rows."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from promptmill.provider.transport import Credentials, RawAnswer, Transport

BODY = b'{"model":"m"}'


async def _ask(location: str | None, rows: int = 1, status: int = 307) -> tuple[list[RawAnswer], list[Any]]:
    """The answers of a server that moved to /v2, or elsewhere; and method, path and body of what it was sent."""
    sent: list[Any] = []

    async def handle(request: web.Request) -> web.Response:
        sent.append((request.method, request.path, await request.read()))
        await asyncio.sleep(0.01)
        if request.path.startswith("/v2") or location is None:
            return web.json_response({"path": request.path})
        return web.Response(status=status, headers={"location": location})

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        async with Transport(Credentials("sk-secret-key", base_url), "chat.completions", 8, 5.0) as transport:
            return list(await asyncio.gather(*(transport.post(BODY) for _ in range(rows)))), sent
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_on_the_same_host_is_followed_with_method_and_body(status: int) -> None:
    answers, sent = asyncio.run(_ask("/v2/chat/completions", rows=4, status=status))

    assert [answer.status for answer in answers] == [200] * 4
    assert {method for method, _, _ in sent} == {"POST"}
    assert {body for _, _, body in sent} == {BODY}


@pytest.mark.parametrize(
    "location",
    [
        pytest.param("http://localhost:1/v1/chat/completions", id="another-host"),
        pytest.param("http://127.0.0.1:1/v1/chat/completions", id="another-port"),
        pytest.param("https://127.0.0.1:1/v1", id="another-scheme-and-port"),
        pytest.param("//elsewhere.example/v1", id="without-a-scheme"),
        pytest.param("http://[broken", id="no-address"),
        pytest.param("", id="nowhere"),
    ],
)
def test_a_redirect_elsewhere_is_the_answer_and_nothing_is_sent_there(location: str) -> None:
    answers, sent = asyncio.run(_ask(location))

    assert [answer.status for answer in answers] == [307]
    assert len(sent) == 1


def test_a_redirect_that_goes_in_a_circle_ends() -> None:
    answers, sent = asyncio.run(_ask("/v1/chat/completions"))

    assert answers[0].status == 307
    assert len(sent) == 1
