"""A Prefect server of a test's own, which may be killed and started again on the same database."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.rig import free_port
from deployments.serve import environment, wait_for


class OwnServer:
    """One server; its database and its leases survive it."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self._port = free_port()
        self._log = folder / "server-log"
        self._settings = {**environment(), "PREFECT_HOME": str(folder / "server"), **settings}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def api_url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._port}/api"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self._log.open("ab") as log:
            words = [sys.executable, "-m", "prefect", "server", "start", "--port", str(self._port)]
            self._process = subprocess.Popen(words, env=self._settings, stdout=log, stderr=log, start_new_session=True)
        wait_for(self._process, self.api_url)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@contextmanager
def own_server(folder: Path, **settings: str) -> Iterator[OwnServer]:
    """A server that nobody else uses."""
    server = OwnServer(folder, **settings)
    server.start()
    try:
        yield server
    finally:
        server.kill()
