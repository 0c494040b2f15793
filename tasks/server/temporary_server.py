"""Starts a Prefect server for one command, if the command or its job needs one and PREFECT_API_URL names none.

Prefect would start it in the terminal's process group (prefect 3.8.8, `SubprocessASGIServer`): Ctrl-C would end it together
with the run, which then tries for minutes to tell a dead server how it ended. Ours leads a session of its own, and ends
when the command does, however that ends: it reads from a pipe that only the command holds open.
"""

import atexit
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache

import httpx
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE, temporary_settings

from promptmill.errors import SetupError
from promptmill.public_url import public_text, public_url

_START_SECONDS = 120.0
_STOP_SECONDS = 10.0
_LOOKS = 3  # tries, since somebody may just be restarting the server
_PAUSE_SECONDS = 1.0
_LOOK_SECONDS = 5.0
_ENVIRONMENT = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
}  # as Prefect's


@contextmanager
def some_server() -> Generator[None]:
    """While this lasts, Prefect has a server: the one of its settings, or a temporary one. Raises: SetupError.

    The temporary one lives until the process ends, since Prefect sends its last events and log lines then.
    """
    api_url = PREFECT_API_URL.value() or None  # an empty one names no server
    if api_url is not None:
        _require_answer(api_url)
    if api_url is not None or not PREFECT_SERVER_ALLOW_EPHEMERAL_MODE.value():
        yield
        return
    with temporary_settings({PREFECT_API_URL: _start()}):
        yield


def _require_answer(api_url: str) -> None:
    """Raises: SetupError when nobody listens at the address; Prefect would say so in 140 lines."""
    with httpx.Client(timeout=_LOOK_SECONDS) as client:
        for left in reversed(range(_LOOKS)):
            try:
                client.get(f"{api_url}/health")
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
                if left == 0:
                    raise SetupError(
                        f"no Prefect server answers at {public_url(api_url)}: {public_text(str(error))}. The run would be a "
                        "flow run there (PREFECT_API_URL). Start that server, correct the address, or unset it: the command "
                        "then runs the job in its own process."
                    ) from error
                time.sleep(_PAUSE_SECONDS)
            except httpx.HTTPError:
                return  # somebody is there: what it says to the run's own calls decides
            else:
                return


@cache
def _start() -> str:
    """Start this process's server and wait until it answers; returns its API's URL."""
    port = _free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", __name__, str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **_ENVIRONMENT},
        start_new_session=True,
    )
    atexit.register(_stop, server)
    api_url = f"http://127.0.0.1:{port}/api"
    until = time.monotonic() + _START_SECONDS
    with httpx.Client(trust_env=False, timeout=5) as client:
        while not _answers(client, api_url):
            if server.poll() is not None or time.monotonic() > until:
                raise SetupError(
                    f"the temporary Prefect server ended or didn't answer within {_START_SECONDS:.0f} s. Start one that "
                    "stays (prefect server start) and name it: export PREFECT_API_URL=http://127.0.0.1:4200/api"
                )
            time.sleep(0.1)
    return api_url


def _answers(client: httpx.Client, api_url: str) -> bool:
    try:
        return client.get(f"{api_url}/health").is_success
    except httpx.HTTPError:
        return False


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server; the pipe that closes with our end would too, but a command that is over leaves nothing behind."""
    server.terminate()
    try:
        server.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _end_with_the_command() -> None:
    sys.stdin.buffer.read()  # returns when the command has ended: nobody else holds the pipe's other end, or writes to it
    os._exit(0)


def _serve(port: int) -> None:
    import uvicorn

    threading.Thread(target=_end_with_the_command, daemon=True).start()
    uvicorn.run(
        "prefect.server.api.server:create_app",
        factory=True,
        host="127.0.0.1",
        port=port,
        log_level="error",
        lifespan="on",
    )


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
