"""`promptmill run` in a terminal of its own, stopped as people stop it: the signal reaches the whole foreground group."""

import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from promptmill.simulator import Simulator
from tests.support.commands import write_job
from tests.support.jobs import MakeJob
from tests.support.paths import ROOT

CTRL_C = b"\x03"
REDRAWN = re.compile(r"(?:[^\n]*\n)*[^\n]*\x1b\[\d*A")  # what the progress display has written and goes back over
AT_ONCE = 10


@dataclass
class Terminal:
    """A terminal with a command in it."""

    process: "subprocess.Popen[bytes]"
    master: int
    shown: bytes = b""

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def close(self) -> None:
        os.close(self.master)

    def wait(self, seconds: float) -> int:
        """The exit code; reads what is shown meanwhile, since a full terminal would hold the command up."""
        until = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < until, self.shown.decode()
            self.read()
        self.read()
        return self.process.returncode

    def read(self) -> None:
        try:
            while chunk := os.read(self.master, 65536):
                self.shown += chunk
        except BlockingIOError:
            time.sleep(0.05)
        except OSError:  # the terminal is closed, or nobody has it open any more
            time.sleep(0.05)


IN_ITS_PROCESS: tuple[str, ...] = ()
ON_A_TEMPORARY_SERVER = pytest.param(("--prefect",), marks=pytest.mark.served, id="temporary-server")


@pytest.fixture
def words(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """What a person types behind `promptmill run JOB`."""
    return getattr(request, "param", IN_ITS_PROCESS)


@pytest.fixture
def home(words: tuple[str, ...], request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A home for Prefect, with a database where a server needs it."""
    if not words:
        return tmp_path / "prefect"
    new_home: Callable[[str], Path] = request.getfixturevalue("new_home")
    return new_home("terminal") / "prefect"


@pytest.fixture
def terminal(
    words: tuple[str, ...], home: Path, make_job: MakeJob, simulator: Simulator, tmp_path: Path
) -> Iterator[Terminal]:
    """A run where nobody named a Prefect server, 400 rows of 0.3 s each, after its first 30 answers."""
    simulator.configure(latency_seconds=0.3)
    job = write_job(make_job(400, limits={"max_concurrency": AT_ONCE}, chunk_rows=50), tmp_path)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {
        "PREFECT_HOME": str(home),
        "OPENAI_API_KEY": "test",
        "OPENAI_BASE_URL": simulator.base_url,
        "TERM": "xterm",
    }
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "flows", "run", str(job), *words],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment,
        cwd=ROOT,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    os.set_blocking(master, False)
    running = Terminal(process, master)
    until = time.monotonic() + 120
    while simulator.ledger()["totals"].get("requests", 0) < 30:
        assert process.poll() is None, running.shown.decode()
        assert time.monotonic() < until, running.shown.decode()
        running.read()
    yield running
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def leftovers(home: str) -> list[str]:
    """The processes that still work in a home of Prefect's."""
    found: list[str] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PREFECT_HOME") == home:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize(
    "words", [pytest.param(IN_ITS_PROCESS, id="in-its-process"), ON_A_TEMPORARY_SERVER], indirect=True
)
def test_ctrl_c_ends_a_run_within_seconds_and_in_one_sentence(
    terminal: Terminal, simulator: Simulator, home: Path, tmp_path: Path
) -> None:
    began = time.monotonic()
    before = len(terminal.shown)
    terminal.type(CTRL_C)
    code = terminal.wait(60)
    seconds = time.monotonic() - began
    time.sleep(0.5)

    said = REDRAWN.sub("", terminal.shown[before:].decode())
    sentence = "The run was interrupted. All that was answered is kept; run the same command again to go on."
    assert code == 130, terminal.shown.decode()
    assert " ".join(said.split()).endswith(sentence)  # however the terminal's width cuts it
    assert b"Traceback" not in terminal.shown
    assert said.count("interrupted") == 1, said
    assert seconds < 20
    assert leftovers(str(home)) == []
    assert rows_stored(tmp_path / "out") == simulator.ledger()["totals"]["requests"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name)
def test_each_signal_that_ends_a_process_ends_a_run_gently(
    number: signal.Signals, terminal: Terminal, simulator: Simulator, tmp_path: Path
) -> None:
    terminal.process.send_signal(number)
    code = terminal.wait(20)

    assert code == 130, terminal.shown.decode()
    assert b"Traceback" not in terminal.shown
    assert rows_stored(tmp_path / "out") == simulator.ledger()["totals"]["requests"]


def test_a_second_ctrl_c_ends_a_run_at_once(terminal: Terminal, simulator: Simulator) -> None:
    simulator.configure(latency_seconds=30)
    sent = simulator.ledger()["totals"]["requests"]
    while simulator.ledger()["totals"]["requests"] < sent + AT_ONCE:
        terminal.read()
        time.sleep(0.05)
    terminal.type(CTRL_C)
    time.sleep(1)
    terminal.type(CTRL_C)
    code = terminal.wait(5)

    assert code == 130
    assert b"The run ended at once. It keeps the answers that were stored" in terminal.shown
    assert b"Traceback" not in terminal.shown


def test_closing_the_terminal_keeps_what_is_on_its_way(
    terminal: Terminal, simulator: Simulator, home: Path, tmp_path: Path
) -> None:
    terminal.close()
    terminal.wait(60)
    time.sleep(0.5)

    assert leftovers(str(home)) == []
    billed = simulator.ledger()["totals"]["requests"]
    assert rows_stored(tmp_path / "out") == billed


def rows_stored(output: Path) -> int:
    """Answers in the checkpoints of an output."""
    return sum(pq.read_metadata(path).num_rows for path in (output / "_checkpoints").rglob("*.parquet"))
