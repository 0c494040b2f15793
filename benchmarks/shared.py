"""One provider limit for several processes: the share of it that they use together, and of attempts answered 429.

`python -m benchmarks shared [2] [4]` runs that many `promptmill run` processes for two and a half minutes against one
simulated provider and one Prefect server, each over its own rows, all with `limits.shared`. The limit on
requests is the tighter one.
The figures leave out the first minute: in it an idle limit hands out three seconds' worth on top.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.rig import get_json, prefect_server, provider, report, run_command, write_job, write_reviews
from tasks.server.shared_limit import create_command

SECONDS = 150
REQUESTS = 6_000
AMPLE = 100_000_000
NAME = "benchmark"


def main(*processes: str) -> None:
    """Measure with so many processes, by default 2 and 4."""
    with tempfile.TemporaryDirectory() as name:
        for number in processes or ("2", "4"):
            with prefect_server(Path(name) / f"prefect-{number}") as api_url:
                _make_limits(api_url)
                _measure(int(number), Path(name) / number, api_url)


def _make_limits(api_url: str) -> None:
    for command in (create_command(NAME, "requests", REQUESTS), create_command(NAME, "tokens", AMPLE)):
        words = [sys.executable, "-m", *command.split()]
        subprocess.run(words, env={**os.environ, "PREFECT_API_URL": api_url}, check=True, stdout=subprocess.DEVNULL)


def _measure(processes: int, folder: Path, api_url: str) -> None:
    jobs = [_write_job(folder / str(number), processes) for number in range(processes)]
    with provider(requests_per_minute=REQUESTS, tokens_per_minute=AMPLE, latency_seconds=0.05) as base_url:
        with ThreadPoolExecutor(processes) as threads:
            runs = list(threads.map(partial(run_command, base_url=base_url, api_url=api_url), jobs))
        root = base_url.removesuffix("/v1")
        timeline = get_json(f"{root}/_simulator/timeline")["requests"]
        counters: dict[str, Any] = get_json(f"{root}/_simulator/ledger")["counters"]
    steady = steady_seconds(timeline)
    report(
        f"shared/{processes}-processes",
        used_percent=round(100 * 60 * statistics.fmean(steady) / REQUESTS, 2),
        most_in_a_minute_percent=round(100 * most_in_a_minute(steady) / REQUESTS, 2),
        answered_429_percent=round(100 * counters.get("rate_limit_429", 0) / max(1, counters["attempts"]), 3),
        succeeded=[run.manifest.get("succeeded") for run in runs],
        seconds=[round(run.seconds, 1) for run in runs],
    )


def _write_job(folder: Path, processes: int) -> Path:
    rows = folder / "rows.parquet"
    write_reviews(rows, REQUESTS * SECONDS // 60 // processes)
    limits = {"max_concurrency": 100, "shared": NAME}
    return write_job(folder, rows, limits=limits)


def steady_seconds(seconds: list[float]) -> list[float]:
    """The amounts of each second, without the first minute and the last seconds, in which processes end."""
    active = [number for number, amount in enumerate(seconds) if amount]
    return seconds[active[0] + 60 : active[-1] - 20]


def most_in_a_minute(seconds: list[float]) -> float:
    """The largest sum of sixty seconds in a row."""
    return max(sum(seconds[start : start + 60]) for start in range(max(1, len(seconds) - 59)))


if __name__ == "__main__":
    main(*sys.argv[1:])
