"""Defences that SECURITY.md names and that no room's own tests hold."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer

from promptmill.provider.transport import Credentials, Transport
from promptmill.simulator.__main__ import main
from promptmill.simulator.server import Simulator
from tests.support.jobs import MakeJob, carry_out

KEY = "sk-that-stays-here"
SCRIPT = "<script>alert(1)</script>"


@asynccontextmanager
async def server_that_notes_keys(keys: list[str], location: str | None = None) -> AsyncGenerator[BaseTestServer]:
    """A server that notes the key of each request, and sends who asks to another place, if it has one."""

    async def answer(request: web.Request) -> web.Response:
        keys.append(request.headers.get("Authorization", ""))
        return web.Response(status=307, headers={"Location": location}) if location else web.Response(text="{}")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        yield server


async def test_a_redirect_takes_the_key_nowhere() -> None:
    first, second = list[str](), list[str]()
    async with (
        server_that_notes_keys(second) as elsewhere,
        server_that_notes_keys(first, str(elsewhere.make_url("/v1/chat/completions"))) as provider,
        Transport(Credentials(KEY, str(provider.make_url("/v1"))), "chat.completions", 1, 5.0) as transport,
    ):
        answer = await transport.post(b"{}")

    assert answer.status == 307
    assert first == [f"Bearer {KEY}"]
    assert second == []


async def test_the_report_shows_rows_and_answers_as_text(make_job: MakeJob, credentials: Credentials) -> None:
    job = make_job([f"{SCRIPT} number {number}" for number in range(12)], request__system=SCRIPT, name="shown")

    await carry_out(job, credentials)

    page = (Path(job.output.url) / "_report.html").read_text()
    assert "&lt;script&gt;alert(1)" in page
    assert SCRIPT not in page


def test_the_simulator_listens_on_this_machine_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["promptmill simulate", "--help"])
    with pytest.raises(SystemExit):
        main("promptmill simulate")

    assert "(default: 127.0.0.1)" in capsys.readouterr().out
    with Simulator() as running:
        assert running.base_url.startswith("http://127.0.0.1:")
