"""Watch runs from outside while they are under way: the server's answers, the provider's ledger, the runs' memory."""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.rig import get_json

TIMEOUT_SECONDS = 60.0


class Watcher(threading.Thread):
    """Calls `look` again and again until the block ends."""

    def __init__(self, look: Callable[[], None], every_seconds: float) -> None:
        super().__init__(daemon=True)
        self._look, self._every_seconds = look, every_seconds
        self._is_over = threading.Event()

    def run(self) -> None:
        while not self._is_over.wait(self._every_seconds):
            self._look()

    def __enter__(self) -> "Watcher":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self.join()


@dataclass
class ServerLooks:
    """How a Prefect server answers people who use it meanwhile: a health check and the UI's list of runs."""

    api_url: str
    seconds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])  # by route
    statuses: Counter[int] = field(default_factory=Counter[int])  # 0 = no answer at all

    def look(self) -> None:
        """Ask each route once."""
        self._ask("GET", "/health")
        self._ask("POST", "/flow_runs/filter", {"limit": 20, "sort": "START_TIME_DESC"})
        self._ask("POST", "/task_runs/count", {})

    def _ask(self, method: str, route: str, body: dict[str, Any] | None = None) -> None:
        url = urlsplit(self.api_url)
        began, status = time.monotonic(), 0
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection(url.netloc, timeout=TIMEOUT_SECONDS)
            content = None if body is None else json.dumps(body)
            connection.request(method, f"{url.path}{route}", content, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            connection.close()
            status = answer.status
        self.statuses[status] += 1
        self.seconds.setdefault(route, []).append(time.monotonic() - began)

    def figures(self) -> dict[str, Any]:
        """The figures to report."""
        asked = {route: sorted(found) for route, found in self.seconds.items()}
        return {
            "looks": self.statuses.total(),
            "looks_answered_5xx_or_not": sum(n for status, n in self.statuses.items() if status == 0 or status >= 500),
            "median_ms": {route: round(1000 * found[len(found) // 2]) for route, found in asked.items()},
            "slowest_ms": {route: round(1000 * found[-1]) for route, found in asked.items()},
        }


@dataclass
class Books:
    """When the provider was first asked, and how much of the work it has answered."""

    ledger_url: str
    first_at: float | None = None  # seconds of the monotonic clock
    attempts: int = 0

    def look(self) -> None:
        """Read the ledger."""
        self.attempts = int(get_json(self.ledger_url)["counters"]["attempts"])
        if self.attempts and self.first_at is None:
            self.first_at = time.monotonic()


@dataclass
class Memory:
    """The peak of each run's process while a share of the rows was answered."""

    api_url: str
    books: Books
    rows: int
    peaks: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])  # run → share → bytes

    def look(self) -> None:
        """Note the peak so far of every process that carries a run."""
        share = next((part for part in (25, 50) if 100 * self.books.attempts <= part * self.rows), 100)
        for run, process in run_processes(self.api_url):
            with suppress(OSError, StopIteration):
                peak = _peak_bytes(process)
                known = self.peaks.setdefault(run, {})
                known[f"{share}%"] = max(known.get(f"{share}%", 0), peak)


def run_processes(api_url: str) -> list[tuple[str, Path]]:
    """The flow runs of a server that are at work on this machine, each with its process's folder in /proc."""
    found: list[tuple[str, Path]] = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            entries = (entry.partition(b"=") for entry in (folder / "environ").read_bytes().split(b"\0"))
            environment = {name: value for name, _, value in entries}
            run = environment.get(b"PREFECT__FLOW_RUN_ID")
            if run is not None and environment.get(b"PREFECT_API_URL") == api_url.encode():
                found.append((run.decode(), folder))
    return found


def _peak_bytes(process: Path) -> int:
    lines = (process / "status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
