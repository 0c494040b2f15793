"""What tests fork from a warm process ends, is told to end, is killed and speaks like what Prefect or a person starts."""

import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import command, write_job
from tests.support.jobs import MakeJob
from tests.support.paths import ROOT

PROGRAM = ROOT / "tests/support/warm_runs.py"


class Server:
    """Takes connections and says nothing, so that a run waits for it until somebody ends the run."""

    def __init__(self, folder: Path) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.settimeout(90)
        self._folder = folder
        self._port = self.listening.getsockname()[1]

    def started(self, **changes: str) -> subprocess.Popen[bytes]:
        """The process that the worker would start for a run."""
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
            "PREFECT_HOME": str(self._folder / "prefect"),
            "PREFECT_API_URL": f"http://127.0.0.1:{self._port}/api",
            "PREFECT__FLOW_RUN_ID": str(uuid.uuid4()),
            **changes,
        }
        command = [sys.executable, "-I", "-S", str(PROGRAM), str(self._folder / "warm")]
        output = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=ROOT, env=environment, **output)  # pyright: ignore

    def asked(self) -> socket.socket:
        """The connection of a run that has started."""
        connection, _ = self.listening.accept()
        connection.settimeout(90)
        assert connection.recv(4096).startswith(b"GET ")
        return connection


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    started = Server(tmp_path)
    yield started
    started.listening.close()
    (tmp_path / "warm").unlink(missing_ok=True)


def test_a_warm_run_ends_like_the_process_that_the_worker_started(server: Server):
    killed = server.started()
    connection = server.asked()
    killed.kill()
    assert connection.recv(4096) == b""  # the run's end, and not only that of its front
    assert killed.wait(30) == -signal.SIGKILL

    told = server.started()
    connection = server.asked()
    told.terminate()
    assert connection.recv(4096) == b""
    assert told.wait(30) == -signal.SIGTERM

    wrong = server.started(PREFECT__FLOW_RUN_ID="no id")
    _, said = wrong.communicate(timeout=60)
    assert (wrong.returncode, b"Invalid flow run id" in said) == (1, True)


def test_a_warm_command_says_what_a_cold_one_says(make_job: MakeJob, tmp_path: Path):
    path = write_job(make_job(3), tmp_path)
    address = {"api_url": "http://127.0.0.1:9/api", "base_url": "http://127.0.0.1:9/v1"}
    for words in (("check", path, "--json"), ("-q", "check", path), ("check", tmp_path / "missing.yaml")):
        warm, cold = (command(*words, **address, is_warm=is_warm) for is_warm in (True, False))
        (answer, told), (same_answer, told_too) = warm.communicate(timeout=90), cold.communicate(timeout=90)

        assert answer == same_answer
        assert [*dict.fromkeys(told.splitlines())] == [
            *dict.fromkeys(told_too.splitlines())
        ]  # a slow step is told again
        assert warm.returncode == cold.returncode
