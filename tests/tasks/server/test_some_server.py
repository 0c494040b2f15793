"""A Prefect server that nobody can reach is told in one sentence, before Prefect looks for it."""

import http.server
import threading

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from benchmarks.rig import free_port
from promptmill.errors import SetupError
from tasks.server.temporary_server import some_server


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("http://127.0.0.1:{port}/api", id="nobody-listens"),
        pytest.param("http://no-such-host.invalid/api", id="no-such-host"),
        pytest.param("http://user:secret-word@127.0.0.1:{port}/api", id="with-a-password"),
    ],
)
def test_a_server_that_nobody_reaches_ends_the_command(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.server.temporary_server._PAUSE_SECONDS", 0.0)
    url = address.format(port=free_port())
    with (
        temporary_settings({PREFECT_API_URL: url}),
        pytest.raises(SetupError, match="PREFECT_API_URL") as error,
        some_server(),
    ):
        pass

    assert "\n" not in str(error.value)
    assert "secret-word" not in str(error.value)


def test_a_server_that_answers_anything_is_left_to_prefect() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{server.server_port}/api"}), some_server():
            pass
        server.shutdown()


def test_an_empty_address_names_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "")
    monkeypatch.setattr("tasks.server.temporary_server._start", lambda: "http://127.0.0.1:1/api")
    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        temporary_settings({PREFECT_API_URL: ""}),
        some_server(),
    ):
        assert PREFECT_API_URL.value() == "http://127.0.0.1:1/api"
