"""A Prefect API every answer of which is an error, and that counts the calls."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from prefect.settings import PREFECT_API_URL, temporary_settings


class FailingApi:
    """Answers every call with `status`; `paths` are those of the calls so far."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.paths: list[str] = []


@contextmanager
def failing_api(status: int) -> Iterator[FailingApi]:
    """While this lasts, Prefect's client calls an API that fails so."""
    api = FailingApi(status)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            api.paths.append(self.path)
            self.send_response(api.status)
            self.send_header("Content-Length", "2")
            self.send_header("Content-Type", "application/json")
            self.send_header("Retry-After", "0")  # else Prefect's client pauses after the last try too
            self.end_headers()
            self.wfile.write(b"{}")

        do_POST = do_PATCH = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{server.server_port}/api"}):
            yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
