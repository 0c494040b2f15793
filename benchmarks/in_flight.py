"""How many requests are in flight, found by the run itself: refused requests, and the rate beside requests that hang.

`python -m benchmarks in_flight` runs against providers with jobs that set no limits:
- `crowded`: one that takes 16 requests at once and answers 503, or 429, to all others;
- `hanging`: the same rows twice, the second time with one request in a hundred that hangs until its timeout;
- `account`: a limit of 10,000 requests a minute, told by headers, with answers that take 3 seconds.
"""

import contextlib
import statistics
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

from benchmarks.rig import (
    Measured,
    free_port,
    get_json,
    prefect_server,
    process,
    provider,
    report,
    run_command,
    wait_for,
    write_job,
    write_reviews,
)

TIMEOUT_SECONDS = 30
ACCOUNT = 10_000  # requests a minute


def main(*cases: str) -> None:
    """Measure the named cases, by default all."""
    measures = {"crowded": _crowded, "hanging": _hanging, "account": _account}
    with tempfile.TemporaryDirectory() as name, prefect_server(Path(name) / "prefect") as api_url:
        for case in cases or measures:
            measures[case](Path(name) / case, api_url)


def _crowded(folder: Path, api_url: str) -> None:
    for status in (503, 429):
        with _crowded_server(16, 0.1, status, 0.0) as base_url:
            run, counts = _run(folder / str(status), 8_000, base_url, api_url)
        sent = counts["taken"] + counts.get("refused", 0)
        report(
            f"in_flight/crowded-{status}",
            refused_percent=round(100 * counts.get("refused", 0) / sent, 2),
            rows_a_second=round(_rate(counts), 1),
            of_capacity_percent=round(100 * _rate(counts) * 0.1 * 1.046 / 16, 1),
            succeeded=run.manifest.get("succeeded"),
            limited_by=run.manifest.get("limited_by"),
        )


def _hanging(folder: Path, api_url: str) -> None:
    rates: list[float] = []
    for hanging in (0.0, 0.01):
        with _crowded_server(64, 0.25, 503, hanging) as base_url:
            run, counts = _run(folder / str(hanging), 9_000, base_url, api_url)
        rates.append(_rate(counts))
        report(
            f"in_flight/hanging-{hanging}",
            rows_a_second=round(rates[-1], 1),
            hung=counts.get("hung", 0),
            succeeded=run.manifest.get("succeeded"),
            seconds=round(run.seconds, 1),
            limited_by=run.manifest.get("limited_by"),
        )
    report("in_flight/hanging", ratio=round(rates[1] / rates[0], 3))


def _account(folder: Path, api_url: str) -> None:
    with provider(requests_per_minute=ACCOUNT, tokens_per_minute=100_000_000, latency_seconds=3) as base_url:
        job = _job(folder, ACCOUNT * 2)
        run = run_command(job, base_url, api_url)
        timeline: list[float] = get_json(f"{base_url.removesuffix('/v1')}/_simulator/timeline")["requests"]
    first = next(second for second, amount in enumerate(timeline) if amount)
    report(
        "in_flight/account",
        used_percent_after_a_minute=round(100 * 60 * statistics.fmean(timeline[first + 60 : first + 110]) / ACCOUNT, 1),
        used_percent_of_each_10_s=[
            round(6 * sum(timeline[at : at + 10]) / ACCOUNT * 100) for at in range(first, first + 110, 10)
        ],
        succeeded=run.manifest.get("succeeded"),
        limited_by=run.manifest.get("limited_by"),
    )


def _job(folder: Path, rows: int) -> Path:
    write_reviews(folder / "rows.parquet", rows)
    retry = {"request_timeout_seconds": TIMEOUT_SECONDS}
    return write_job(folder, folder / "rows.parquet", limits={}, retry=retry)


def _run(folder: Path, rows: int, base_url: str, api_url: str) -> tuple[Measured, dict[str, Any]]:
    run = run_command(_job(folder, rows), base_url, api_url)
    return run, get_json(f"{base_url.removesuffix('/v1')}/counts")


def _rate(counts: dict[str, Any]) -> float:
    """Answers a second, from the first tenth of the answers to the last: there only what hung is left."""
    times = counts["answered_at"]
    first, last = len(times) // 10, len(times) * 9 // 10
    return (last - first) / (times[last] - times[first])


@contextlib.contextmanager
def _crowded_server(capacity: int, seconds: float, status: int, hanging: float) -> Generator[str]:
    port = free_port()
    numbers = (str(number) for number in (port, capacity, seconds, status, hanging))
    with process(sys.executable, "-m", "benchmarks.crowded_server", *numbers):
        wait_for(f"http://127.0.0.1:{port}/counts")
        yield f"http://127.0.0.1:{port}/v1"


if __name__ == "__main__":
    main(*sys.argv[1:])
