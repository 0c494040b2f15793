"""A PostgreSQL server of its own for a benchmark or a test, in a temporary folder on a free loopback port.

It uses the programs of Debian's package `postgresql`, which keeps them out of PATH. They refuse to run as root; if we are
root, we run them as the package's user.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

from benchmarks.rig import free_port

MISSING = "PostgreSQL isn't installed. Install it: apt-get install postgresql"
USER = "postgres"  # that Debian's package makes
START_SECONDS = 60.0
STOP_SECONDS = 30.0


def find_postgres() -> Path | None:
    """The folder of PostgreSQL's programs, the newest where there are several; None where it isn't installed."""
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    found = str(packaged[-1]) if packaged else shutil.which("postgres")
    return Path(found).parent if found else None


@contextlib.contextmanager
def postgres() -> Generator[str]:
    """A running server; yields the URL that Prefect's server needs. Its data is gone afterwards."""
    programs = find_postgres()
    if programs is None:
        raise SystemExit(MISSING)
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="promptmill-postgres-") as name:
        user = _user_of_servers()
        groups = None if user is None else list[str]()
        if user is not None:
            shutil.chown(name, user)
        data = f"{name}/data"
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=name,
            user=user,
            group=user,
            extra_groups=groups,
        )
        words = [programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", name]
        with (Path(name) / "log").open("wb") as log:
            server = subprocess.Popen(
                words, stdout=log, stderr=log, cwd=name, user=user, group=user, extra_groups=groups
            )
        try:
            _wait_until_ready(server, programs, port, Path(name) / "log")
            yield f"postgresql+asyncpg://{USER}@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)  # fast: clients are cut off
            server.wait(STOP_SECONDS)


def _user_of_servers() -> str | None:
    """The user that PostgreSQL runs as; None: our own."""
    return USER if os.geteuid() == 0 else None


def _wait_until_ready(server: subprocess.Popen[bytes], programs: Path, port: int, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    ask = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(ask, check=False).returncode != 0:
        if server.poll() is not None or time.monotonic() > until:
            raise SystemExit(f"PostgreSQL didn't start: {log.read_text()}")
        time.sleep(0.1)
