"""A Prefect server of a test's own, with workers of its own: each may be killed and started again."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.rig import free_port
from deployments.serve import environment, run, wait_for
from promptmill.simulator import Simulator
from tasks.server.parts import POOL_SETTING
from tests.support.paths import ROOT
from tests.support.serving import KEY

SHARED_PER_MINUTE = 600  # requests of the limit `shared`


class OwnServer:
    """One server and its workers; database, leases and deployments survive it."""

    def __init__(self, folder: Path, provider: Simulator, **settings: str) -> None:
        self._port = free_port()
        self._log = folder / "log"
        self.settings = {
            **{name: value for name, value in environment().items() if not name.startswith("PREFECT_API")},
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": self.api_url,
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PROMPTMILL_STATE_URL": str(folder / "state"),
            "PROMPTMILL_ALLOWED_URLS": f"{folder.parent},{ROOT}",  # the folders of all tests, and the project's
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": provider.base_url,
            **settings,
        }
        self._server: subprocess.Popen[bytes] | None = None
        self.deployed = ""  # what Prefect's command said in a clone

    @property
    def api_url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._port}/api"

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        self._server = self._started("deployments/local_server.py", "--port", str(self._port))
        wait_for(self._server, self.api_url)

    def kill(self) -> None:
        """End the server as a power cut would."""
        if self._server is not None:
            kill(self._server)
            self._server = None

    def bootstrap(self, *options: str) -> None:
        """What deployments need on a server, and a provider block."""
        run("deployments/bootstrap.py", "--provider", "openai", *options, settings=self.settings)

    def deploy_as_in_a_clone(self) -> None:
        """All deployments, by Prefect's command with nothing set but the server's address."""
        deployed = subprocess.run(
            [sys.executable, "-m", "prefect", "deploy", "--all"],
            cwd=ROOT,
            env={name: value for name, value in self.settings.items() if not name.startswith("PROMPTMILL_")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        self.deployed = deployed.stdout + deployed.stderr
        assert deployed.returncode == 0, self.deployed

    def deploy(self, *options: str) -> None:
        """Everything that `make serve` makes on a server."""
        self.bootstrap(*options)
        pool = {POOL_SETTING: self.settings["PROMPTMILL_WORK_POOL"]}
        run("-m", "prefect", "--no-prompt", "deploy", "--all", settings={**self.settings, **pool})

    @contextmanager
    def worker(self, is_prefects: bool = False) -> Iterator[subprocess.Popen[bytes]]:
        """A worker, ours or Prefect's own, ended with the block unless it was killed before."""
        words = ("-m", "prefect", "worker", "start", "--pool", self.settings["PROMPTMILL_WORK_POOL"])
        process = self._started(*words) if is_prefects else self._started("deployments/serve.py", "--worker")
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)

    def _started(self, *words: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *words],
                cwd=ROOT,
                env=self.settings,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def kill(process: subprocess.Popen[bytes]) -> None:
    """`kill -9` of a process and of all that it started in its session."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def own_server(folder: Path, provider: Simulator, **settings: str) -> Iterator[OwnServer]:
    """A server that nobody else uses."""
    server = OwnServer(folder, provider, **settings)
    server.start()
    try:
        yield server
    finally:
        server.kill()
