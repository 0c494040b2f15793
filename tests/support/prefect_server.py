"""A Prefect server that the tests of a process share, and homes for servers whose database has its tables already.

Prefect makes a new database by 130 migrations: two thirds of the CPU of a server's first start.
"""

import fcntl
import inspect
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.utilities.asyncutils import run_coro_as_sync

from benchmarks.rig import free_port
from deployments.serve import wait_for
from tests.support.paths import ROOT


def prepare_home(folder: Path, shared: Path) -> None:
    """Put an empty database with all tables into a folder's `prefect`; the first caller makes it, in `shared`."""
    made = shared / "migrated" / "prefect.db"
    with (shared / "migrated.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
            home = shared / "migrating"
            environment = {**_without_prefect(), "PREFECT_HOME": str(home)}
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
            home.rename(made.parent)
    (folder / "prefect").mkdir()
    shutil.copy(made, folder / "prefect")


def end_prefects_threads() -> None:
    """Send what Prefect's threads hold and end them: they use the module `random`, which other tests seed."""

    async def drain() -> None:
        for drained in (APILogWorker.drain_all(), EventsWorker.drain_all()):
            if inspect.isawaitable(drained):
                await drained

    run_coro_as_sync(drain())


def _without_prefect() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}


@contextmanager
def prefect_server(folder: Path) -> Iterator[str]:
    """A server with nothing deployed, its home and its log in a folder; yields its API's URL."""
    port = free_port()
    api_url = f"http://127.0.0.1:{port}/api"
    environment = {
        **_without_prefect(),
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
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
