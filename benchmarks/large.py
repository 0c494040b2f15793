"""A very large run: its memory over time, Prefect's database, the checkpoints, and the finished run started again.

`python -m benchmarks large [rows] [processes] [folder] [parquet|csv|jsonl] [id column]` answers ten million rows, unless told
otherwise, with a Prefect server and against a server that answers at once and costs next to no CPU (bare_server.py).
The rows have the id column `id`, unless it is given as an empty text.
The folder keeps the input, the output and Prefect's database; the same command over it goes on after a kill.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.rig import free_port, prefect_server, process, report, run_command, wait_for, write_job, write_reviews
from benchmarks.watching import ServerLooks, Watcher

ROWS = 10_000_000
_CHARACTERS = 60
_LOOK_SECONDS = 1.0  # at the server
_MEMORY_SECONDS = 0.2  # a hundred thousand rows are published in one second
_LINES = 40  # of memory over time
_MEGABYTE = 10**6


def main(rows: str = str(ROWS), processes: str = "1", folder: str = "", kind: str = "parquet", ids: str = "id") -> None:
    """Run it, watch it, and run it again."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(folder or name)
        _measure(place, int(rows), int(processes), kind, ids)


def _measure(place: Path, rows: int, processes: int, kind: str, ids: str) -> None:
    data = place / f"rows.{kind}"
    if not data.exists():
        write_reviews(data, rows, _CHARACTERS)
    home = place / "prefect"
    job = write_job(place, data, processes=processes, input={"url": str(data), "id_column": ids or None})
    with prefect_server(home, log=place / "server.log") as api_url, _provider() as base_url:
        server = ServerLooks(api_url)
        with Watcher(server.look, every_seconds=_LOOK_SECONDS):
            _run(job, base_url, api_url, rows)
        report("large/server", database_mb=_megabytes(home), **server.figures())
        report("large/checkpoints", **_listed(place / "output" / "_checkpoints"))
        again = run_command(job, base_url, api_url)
        report("large/finished", sent=again.manifest["attempts"], seconds=round(again.seconds, 1))


def _run(job: Path, base_url: str, api_url: str, rows: int) -> None:
    """One run of the command, with the memory of its processes over time."""
    settings = {"OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": "benchmark", "PREFECT_API_URL": api_url}
    command = [sys.executable, "-m", "flows", "run", str(job), "--json"]
    seen: list[tuple[int, int]] = []  # seconds, megabytes
    began = time.monotonic()
    with (job.parent / "run.log").open("ab") as log:
        running = subprocess.Popen(command, env={**os.environ, **settings}, stdout=subprocess.PIPE, stderr=log)
        while running.poll() is None:
            seen.append((round(time.monotonic() - began), tree_megabytes(running.pid)))
            time.sleep(_MEMORY_SECONDS)
    assert running.stdout is not None
    manifest: dict[str, Any] = json.loads(running.stdout.read().splitlines()[-1])
    report(
        "large",
        rows=rows,
        succeeded=manifest["succeeded"],
        exit_code=running.returncode,
        seconds=round(time.monotonic() - began),
        peak_mb=max(found for _, found in seen),
        mb_by_seconds=dict(seen[:: len(seen) // _LINES + 1]),
    )


@contextmanager
def _provider() -> Generator[str]:
    port = free_port()
    with process(sys.executable, "-m", "benchmarks.bare_server", str(port)):
        wait_for(f"http://127.0.0.1:{port}/v1/models")
        yield f"http://127.0.0.1:{port}/v1"


def tree_megabytes(pid: int) -> int:
    """The memory that a process and all below it hold for themselves, a shared page by its share."""
    below: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        try:
            if name.isdecimal():
                fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
                below.setdefault(int(fields[1]), []).append(int(name))
        except OSError:
            continue  # it has ended
    tree = [pid]
    for found in tree:
        tree += below.get(found, [])
    return sum(_own_bytes(found) for found in tree) // _MEGABYTE


def _own_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0  # it has ended
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _listed(folder: Path) -> dict[str, int]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {"files": len(files), "megabytes": sum(path.stat().st_size for path in files) // _MEGABYTE}


def _megabytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("prefect.db*")) // _MEGABYTE


if __name__ == "__main__":
    main(*sys.argv[1:])
