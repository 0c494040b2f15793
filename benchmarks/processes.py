"""One process against several of one machine: rows a second, and the CPU of the busiest process.

`python -m benchmarks processes [rows] [processes] [turns]` runs one job by one process and by several, one after the other,
so many times, against a server that answers at once and costs next to no CPU (bare_server.py), and keeps the better of each.
Rows a second are those of this machine: the server needs a core too. The ratio by CPU says what as many free cores would
give: the CPU of the one process to that of the parent and of its busiest child, which come one after the other.
"""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rig import Measured, free_port, process, report, run_command, wait_for, write_job, write_reviews

ROWS = 40_000
PROCESSES = 2
_TICKS = os.sysconf("SC_CLK_TCK")
_CHILD = b"standalone.child"  # in the command line of a child
_LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Sides:
    """One run, with the CPU of its processes and of the server."""

    run: Measured
    children: list[float]  # CPU seconds of each
    server: float

    @property
    def parent(self) -> float:
        """CPU seconds of the run's own process."""
        return self.run.cpu_seconds - sum(self.children)

    @property
    def path(self) -> float:
        """CPU seconds that come one after the other, however many cores there are."""
        return self.parent + max(self.children, default=0.0)


def main(rows: str = str(ROWS), processes: str = str(PROCESSES), turns: str = "2") -> None:
    """Measure both, one after the other, so many times, and compare the better of each."""
    count = int(processes)
    with tempfile.TemporaryDirectory() as name, _server() as (base_url, server):
        data = Path(name) / "rows.parquet"
        write_reviews(data, int(rows))
        found: dict[int, list[Sides]] = {1: [], count: []}
        for turn in range(int(turns)):
            for number, sides in found.items():
                folder = Path(name) / f"{turn}-{number}"
                folder.mkdir()
                sides.append(_measure(write_job(folder, data, processes=number), base_url, server, int(rows)))
    one, many = (min(found[number], key=lambda side: side.run.seconds) for number in (1, count))
    a_row = 1e6 / int(rows)
    report(
        "processes",
        rows=int(rows),
        processes=count,
        cores=len(os.sched_getaffinity(0)),
        rows_a_second_by_one=round(int(rows) / one.run.seconds),
        rows_a_second=round(int(rows) / many.run.seconds),
        ratio=round(one.run.seconds / many.run.seconds, 2),
        ratio_by_cpu=round(one.path / many.path, 2),
        ratio_by_cpu_while_answering=round((one.run.cpu_seconds - many.parent) / max(many.children), 2),
        cpu_us_a_row_by_one=round(one.run.cpu_seconds * a_row),
        cpu_us_a_row=round(many.run.cpu_seconds * a_row),
        cpu_us_a_row_of_parent=round(many.parent * a_row),
        cpu_us_a_row_of_server=round(many.server * a_row),
    )


def _measure(job: Path, base_url: str, server: int, rows: int) -> Sides:
    before, children = _cpu(server), dict[int, float]()
    ended = threading.Event()
    looking = threading.Thread(target=_look, args=(children, ended))
    looking.start()
    try:
        run = run_command(job, base_url, "")
    finally:
        ended.set()
        looking.join()
    if run.exit_code or run.manifest["succeeded"] != rows:
        raise SystemExit(f"the run failed: {run}")
    return Sides(run, list(children.values()), _cpu(server) - before)


def _look(children: dict[int, float], ended: threading.Event) -> None:
    """Keep the CPU of each child of a run of this process as it was last seen."""
    while not ended.wait(_LOOK_SECONDS):
        for pid in (int(name) for name in os.listdir("/proc") if name.isdecimal()):
            try:
                if _parent(_parent(pid)) == os.getpid() and _CHILD in Path(f"/proc/{pid}/cmdline").read_bytes():
                    children[pid] = _cpu(pid)
            except OSError:
                continue  # it has ended


def _cpu(pid: int) -> float:
    """CPU seconds of a process."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _parent(pid: int) -> int:
    return int(_stat(pid)[1]) if pid else 0


def _stat(pid: int) -> list[str]:
    """What the kernel says of a process, from its state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


@contextmanager
def _server() -> Generator[tuple[str, int]]:
    port = free_port()
    with process(sys.executable, "-m", "benchmarks.bare_server", str(port)) as running:
        wait_for(f"http://127.0.0.1:{port}/v1/models")
        time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1", running.pid


if __name__ == "__main__":
    main(*sys.argv[1:])
