"""Starts and ends the parts of a local Promptmill, such as a Prefect worker, so that the worker's runs keep their answers.

If you end Prefect's own worker, it kills its runs at once (prefect 3.8.8), and the paid answers on their way are lost.
`deployments/serve.py` and `promptmill worker` use this module, which imports no Prefect.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

POOL_SETTING = "PREFECT_DEPLOYMENTS_DEFAULT_WORK_POOL_NAME"  # Prefect's own, for deployments that name no work pool
QUERY_SECONDS = "3"  # between two looks for runs; Prefect's own 10 s would be most of a run's start
_STOP_SECONDS = 20.0
_RUN_STOP_SECONDS = 25.0  # a run lets requests on their way finish for ten seconds, then saves and reports


def start(*words: str, settings: Mapping[str, str], folder: Path, quiet: bool = False) -> subprocess.Popen[bytes]:
    """Start a part in its own process group, so that on Ctrl-C only we end it, in our order."""
    out = subprocess.DEVNULL if quiet else None
    return subprocess.Popen(
        [sys.executable, *words], cwd=folder, env=dict(settings), start_new_session=True, stdout=out, stderr=out
    )


def start_worker(pool: str, settings: Mapping[str, str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a worker of a pool."""
    return start("-m", "prefect", "worker", "start", "--pool", pool, settings=settings, folder=folder)


@contextmanager
def ending_parts(parts: list[subprocess.Popen[bytes]]) -> Generator[None]:
    """End all parts, the last one first, when the block ends: by itself, by Ctrl-C or by SIGTERM."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    except KeyboardInterrupt:
        print("\nstopping…", flush=True)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):  # otherwise a second Ctrl-C would leave processes behind
            signal.signal(number, signal.SIG_IGN)
        for part in reversed(parts):
            _stop(part)


def _interrupt(*_: object) -> None:
    """On SIGTERM, end as on Ctrl-C."""
    raise KeyboardInterrupt


def _stop(part: subprocess.Popen[bytes]) -> None:
    """End a part and everything that it started."""
    if part.poll() is None:
        _end_runs(part)
    if part.poll() is None:
        os.killpg(part.pid, signal.SIGTERM)
        try:
            part.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(part.pid, signal.SIGKILL)
            part.wait()


def _end_runs(worker: subprocess.Popen[bytes]) -> None:
    """Stop a worker's runs so that they keep their answers. The worker dies first, so that it starts no other run."""
    runs = _children_of(worker.pid) if "worker" in worker.args else []  # pyright: ignore
    if not runs:
        return
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    for run in runs:
        _signal_group(run, signal.SIGTERM)
    until = time.monotonic() + _RUN_STOP_SECONDS
    while time.monotonic() < until and any(_signal_group(run, 0) for run in runs):
        time.sleep(0.2)
    for run in runs:
        _signal_group(run, signal.SIGKILL)


def _children_of(process: int) -> list[int]:
    """The processes that a process started."""
    with contextlib.suppress(OSError):
        found = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True, check=False)  # noqa: S607
        return [int(line) for line in found.stdout.split()]
    return []


def _signal_group(leader: int, number: int) -> bool:
    """Send a signal to a group of processes; returns whether any process is left in it."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(leader, os.WNOHANG)  # in a container, orphans become our children, and we reap them
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
