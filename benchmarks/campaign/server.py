"""A Prefect server of the campaign's own and its worker, which may be killed and started again."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.rig import free_port, get_json
from deployments.serve import ROOT, environment, run

MARK = "PROMPTMILL_CAMPAIGN"  # in the environment of all that a round starts
RUN_MARK = "PREFECT__FLOW_RUN_ID"
STOP_SECONDS = 90.0
START_SECONDS = 600.0  # on a busy machine


class Server:
    """One server; its database outlives it."""

    def __init__(self, folder: Path, base_url: str) -> None:
        folder.mkdir(parents=True)
        self._port, self._log = free_port(), folder / "log"
        self.api_url = f"http://127.0.0.1:{self._port}/api"
        self.settings = {
            **{name: value for name, value in environment().items() if not name.startswith("PREFECT_API")},
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": self.api_url,
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PROMPTMILL_STATE_URL": str(folder / "state"),
            "PROMPTMILL_ALLOWED_URLS": str(folder.parent),  # the folders of all rounds
            "OPENAI_API_KEY": "campaign",
            "OPENAI_BASE_URL": base_url,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._is_deployed = False

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = self.spawn("deployments/local_server.py", "--port", str(self._port), mark="", log=self._log)
        until = time.monotonic() + START_SECONDS
        while not _answers(self.api_url):
            if self._process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"the Prefect server didn't start: {self._log.read_text()[-2000:]}")
            time.sleep(0.3)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            kill_group(self._process)
            self._process = None

    def deploy(self) -> None:
        """Put everything on it that a worker's runs need, the first time only."""
        if not self._is_deployed:
            run("deployments/bootstrap.py", "--provider", "openai", settings=self.settings)
            run("-m", "prefect", "--no-prompt", "deploy", "--all", settings=self.settings)
            self._is_deployed = True

    def start_worker(self, mark: str, log: Path) -> subprocess.Popen[bytes]:
        """Start a worker that tells its runs before it ends."""
        return self.spawn("deployments/serve.py", "--worker", mark=mark, log=log)

    def spawn(self, *words: str, mark: str, log: Path) -> subprocess.Popen[bytes]:
        """Start a Python program in a session of its own, all that it prints appended to a log."""
        settings = {**self.settings, MARK: mark}
        with log.open("ab") as file:
            return subprocess.Popen(
                [sys.executable, *words], cwd=ROOT, env=settings, stdout=file, stderr=file, start_new_session=True
            )


def _answers(api_url: str) -> bool:
    try:
        return get_json(f"{api_url}/health") is True
    except OSError:
        return False


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its group, and reap it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, and kill it when it doesn't."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        kill_group(process)


def marked(mark: str) -> list[tuple[int, bool]]:
    """The processes whose environment has a round's mark, and whether each is a flow run's."""
    found: list[tuple[int, bool]] = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            values = (folder / "environ").read_bytes().split(b"\0")
            if f"{MARK}={mark}".encode() in values:
                found.append((int(folder.name), any(value.startswith(f"{RUN_MARK}=".encode()) for value in values)))
    return found


def kill_marked(mark: str, *, are_runs: bool) -> None:
    """Kill a round's flow runs, or all but them: its worker."""
    for process, is_run in marked(mark):
        if is_run == are_runs:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def left_of(mark: str, seconds: float = 15.0) -> tuple[str, ...]:
    """The processes of a round that don't end by themselves; they are killed."""
    until = time.monotonic() + seconds
    while (found := marked(mark)) and time.monotonic() < until:
        time.sleep(0.2)
    for process, _ in found:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return tuple(f"process {process}" for process, _ in found)
