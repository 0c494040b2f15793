"""A Prefect server that the tests of a process share: starting one takes ten seconds of CPU, most of it for its tables."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.rig import free_port
from deployments.serve import wait_for
from tests.support.paths import ROOT


@contextmanager
def prefect_server(folder: Path) -> Iterator[str]:
    """A server with nothing deployed, its home and its log in a folder; yields its API's URL."""
    port = free_port()
    api_url = f"http://127.0.0.1:{port}/api"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {"PREFECT_HOME": str(folder / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "deployments/local_server.py", "--port", str(port)],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(server, api_url)
        yield api_url
    finally:
        server.terminate()
        server.wait(60)
