"""Before anything is paid for: nobody at the address and a refused key end a run, and nothing else does."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.rig import free_port
from promptmill.errors import CredentialsError, ProviderUnreachable
from promptmill.provider.first_contact import first_contact, require_contact
from promptmill.provider.transport import Credentials
from promptmill.simulator import Simulator

KEY = "sk-that-must-not-show"
INVALID_KEY = b'{"error": {"message": "Incorrect API key provided: sk-that-must-not-show", "code": "invalid_api_key"}}'


@contextmanager
def answering(status: int, body: bytes) -> Iterator[Credentials]:
    """A provider that answers everything with this."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield Credentials(api_key=KEY, base_url=f"http://127.0.0.1:{server.server_port}/v1")
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(200, b'{"object": "list", "data": []}', id="models"),
        pytest.param(200, b"<html>Welcome</html>", id="a-page"),
        pytest.param(404, b'{"detail": "Not Found"}', id="no-such-address"),
        pytest.param(405, b"", id="no-such-method"),
        pytest.param(403, b'{"error": {"message": "Missing scopes: api.model.read"}}', id="a-key-for-rows-only"),
        pytest.param(401, b'{"message": "Unauthorized"}', id="a-gateway-that-hides-its-models"),
        pytest.param(429, b'{"error": {"message": "slow down"}}', id="a-limit"),
        pytest.param(503, b"", id="an-outage"),
    ],
)
def test_an_answer_of_any_other_kind_ends_no_run(status: int, body: bytes) -> None:
    with answering(status, body) as credentials:
        found = first_contact(credentials, pause=lambda _: None)

    assert found.problem is None
    assert credentials.base_url is not None
    assert credentials.base_url in found.found


def test_a_refused_key_ends_the_run_and_is_not_shown() -> None:
    with answering(401, INVALID_KEY) as credentials, pytest.raises(CredentialsError, match="OPENAI_API_KEY") as error:
        require_contact(credentials)

    assert KEY not in str(error.value)


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("http://127.0.0.1:{port}/v1", id="nobody-listens"),
        pytest.param("http://no-such-host.invalid/v1", id="no-such-host"),
        pytest.param("https://127.0.0.1:{served}/v1", id="no-tls-there"),
    ],
)
def test_nobody_at_the_address_ends_the_run_after_three_tries(address: str, simulator: Simulator) -> None:
    served = simulator.base_url.split(":")[2].split("/")[0]
    credentials = Credentials(api_key=KEY, base_url=address.format(port=free_port(), served=served))
    pauses: list[float] = []
    found = first_contact(credentials, pause=pauses.append)

    assert isinstance(found.problem, ProviderUnreachable)
    assert found.problem.exit_code == 2
    assert len(pauses) == 2
    assert "OPENAI_BASE_URL" in str(found.problem)
    assert KEY not in str(found.problem)


def test_an_address_that_answers_the_second_try_is_reached(simulator: Simulator) -> None:
    port = free_port()
    credentials = Credentials(api_key=KEY, base_url=f"http://127.0.0.1:{port}/v1")
    started: list[http.server.HTTPServer] = []

    def start(_: float) -> None:
        server = http.server.HTTPServer(("127.0.0.1", port), http.server.BaseHTTPRequestHandler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        started.append(server)

    found = first_contact(credentials, pause=start)
    started[0].shutdown()
    started[0].server_close()

    assert (found.problem, len(started)) == (None, 1)
