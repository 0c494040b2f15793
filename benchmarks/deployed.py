"""A whole Promptmill as a team has it: PostgreSQL, a Prefect server, everything deployed, two workers, one shared limit.

`python -m benchmarks deployed [rows] [requests a minute]` starts runs through the API, as the UI does: three small ones, to
see how long a run takes to send its first request, then one of 100,000 rows in two shards that share a limit of 15,000
requests a minute. Meanwhile it asks the server every second, as an open UI does, and the server logs every request that it
answers. The figures of the limit leave out the first minute, in which an idle limit hands out three seconds' worth on top.
"""

import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings

from benchmarks.postgres import postgres
from benchmarks.rig import get_json, prefect_server, process, provider, report, write_job, write_reviews
from benchmarks.shared import AMPLE, most_in_a_minute, steady_seconds
from benchmarks.watching import Books, Memory, ServerLooks, Watcher

ROOT = Path(__file__).parents[1]
LIMIT = "benchmark"
SHARDS = 2
SMALL_ROWS = 20
ANSWERED = re.compile(r'HTTP/1\.1" (\d{3})')


@dataclass(frozen=True, slots=True)
class Place:
    """Where everything is."""

    folder: Path
    api_url: str
    provider_root: str

    @property
    def server_log(self) -> Path:
        """Everything that the server prints, with a line for each request that it answers."""
        return self.folder / "server.log"

    @property
    def ledger_url(self) -> str:
        """Where the provider shows its ledger."""
        return f"{self.provider_root}/_simulator/ledger"


def main(rows: str = "100000", requests_per_minute: str = "15000") -> None:
    """Measure the start of runs, then a long one."""
    with _deployed(int(requests_per_minute)) as place:
        asyncio.run(_measure(place, int(rows), int(requests_per_minute)))


@contextmanager
def _deployed(requests_per_minute: int) -> Generator[Place]:
    with (
        tempfile.TemporaryDirectory() as name,
        postgres() as database,
        prefect_server(
            Path(name) / "prefect",
            Path(name) / "server.log",
            PREFECT_SERVER_DATABASE_CONNECTION_URL=database,
            PREFECT_SERVER_LOGGING_LEVEL="INFO",
            PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE="prefect.server.concurrency.lease_storage.filesystem",
        ) as api_url,
        provider(requests_per_minute=requests_per_minute, tokens_per_minute=AMPLE, latency_seconds=0.5) as base_url,
    ):
        settings = {
            "PREFECT_API_URL": api_url,
            "PREFECT_HOME": str(Path(name) / "prefect"),
            "PREFECT_WORKER_QUERY_SECONDS": "3",  # as `make serve` has it
            "PROMPTMILL_HOME": str(ROOT),
            "PROMPTMILL_WORK_POOL": "promptmill",
            "PROMPTMILL_STATE_URL": str(Path(name) / "state"),
            "PROMPTMILL_ALLOWED_URLS": name,
            "OPENAI_API_KEY": "benchmark",
            "OPENAI_BASE_URL": base_url,
        }
        limit = f"{LIMIT}={requests_per_minute},{AMPLE}"
        _command("deployments/bootstrap.py", "--provider", "openai", "--limit", limit, **settings)
        _command("-m", "prefect", "--no-prompt", "deploy", "--all", **settings)
        with _workers(Path(name), settings):
            yield Place(Path(name), api_url, base_url.removesuffix("/v1"))


@contextmanager
def _workers(folder: Path, settings: dict[str, str]) -> Generator[None]:
    """Two workers, each with room for two runs: neither can carry the run and both of its shards."""
    words = (sys.executable, "-m", "prefect", "worker", "start", "--pool", "promptmill", "--limit", "2", "--name")
    with (
        process(*words, "one", log=folder / "worker-one.log", **settings),
        process(*words, "two", log=folder / "worker-two.log", **settings),
    ):
        yield


def _command(*words: str, **settings: str) -> None:
    environment = {**os.environ, **settings}
    subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)


async def _measure(place: Place, rows: int, requests_per_minute: int) -> None:
    with temporary_settings({PREFECT_API_URL: place.api_url}):
        async with get_client() as client:
            for turn in range(3):
                await _measure_start(client, place, turn)
            await _measure_run(client, place, rows, requests_per_minute)


async def _measure_start(client: PrefectClient, place: Place, turn: int) -> None:
    """Measure how long a small run takes, including everything that Prefect adds."""
    job = _write_job(place.folder / f"small-{turn}", SMALL_ROWS)
    _reset(place)
    books, began = Books(place.ledger_url), time.monotonic()
    with Watcher(books.look, 0.1):
        run = await _ended(client, await _start(client, job))
    report(
        "deployed/start",
        seconds_to_first_request=round((books.first_at or time.monotonic()) - began, 1),
        seconds=round(time.monotonic() - began, 1),
        state=run.state_name,
    )


async def _measure_run(client: PrefectClient, place: Place, rows: int, requests_per_minute: int) -> None:
    job = _write_job(place.folder / "large", rows, shards=SHARDS, limits={"max_concurrency": 400, "shared": LIMIT})
    _reset(place)
    answered_before = _answered(place)
    books, looks = Books(place.ledger_url), ServerLooks(place.api_url)
    memory, began = Memory(place.api_url, books, rows), time.monotonic()
    with Watcher(books.look, 0.2), Watcher(looks.look, 1.0), Watcher(memory.look, 1.0):
        run = await _ended(client, await _start(client, job))
    seconds = time.monotonic() - began
    report("deployed/first-request", seconds=round((books.first_at or time.monotonic()) - began, 1))
    _report_limit(place, requests_per_minute)
    report("deployed/server", **looks.figures(), **_log_figures(place, answered_before))
    runs = {str(flow_run.id): flow_run for flow_run in await client.read_flow_runs()}
    for identity, peaks in memory.peaks.items():
        if identity in runs:
            peaks_mb = {share: peak // 10**6 for share, peak in peaks.items()}
            report("deployed/memory", run=runs[identity].name, worker=_worker_of(runs[identity]), peak_mb=peaks_mb)
    manifest = json.loads((place.folder / "large" / "output" / "_manifest.json").read_bytes())
    counts = {name: manifest[name] for name in ("rows", "succeeded", "failed", "attempts")}
    states = Counter(flow_run.state_name for flow_run in runs.values() if flow_run.deployment_id is not None)
    report("deployed", seconds=round(seconds, 1), state=run.state_name, **counts, states_of_all_runs=states)


async def _start(client: PrefectClient, job: dict[str, Any]) -> FlowRun:
    """The run that answers all rows of a job."""
    deployment = await client.read_deployment_by_name("online-inference/online")
    return await client.create_flow_run_from_deployment(deployment.id, parameters={"job": job})


async def _ended(client: PrefectClient, run: FlowRun) -> FlowRun:
    while not (found := await client.read_flow_run(run.id)).state or not found.state.is_final():
        await asyncio.sleep(0.5)
    return found


def _write_job(folder: Path, rows: int, **changes: Any) -> dict[str, Any]:
    write_reviews(folder / "rows.parquet", rows)
    return json.loads(write_job(folder, folder / "rows.parquet", provider="openai", **changes).read_text())


def _reset(place: Place) -> None:
    urllib.request.urlopen(urllib.request.Request(f"{place.provider_root}/_simulator/reset", method="POST")).close()


def _report_limit(place: Place, requests_per_minute: int) -> None:
    timeline: list[float] = get_json(f"{place.provider_root}/_simulator/timeline")["requests"]
    counters = get_json(place.ledger_url)["counters"]
    steady = steady_seconds(timeline)
    report(
        "deployed/limit",
        used_percent=round(100 * 60 * statistics.fmean(steady) / requests_per_minute, 2),
        most_in_a_minute_percent=round(100 * most_in_a_minute(steady) / requests_per_minute, 2),
        answered_429_percent=round(100 * counters["rate_limit_429"] / max(1, counters["attempts"]), 3),
        steady_seconds=len(steady),
    )


def _answered(place: Place) -> Counter[str]:
    """The statuses of all requests that the server has answered so far."""
    return Counter(ANSWERED.findall(place.server_log.read_text(errors="replace")))


def _log_figures(place: Place, before: Counter[str]) -> dict[str, Any]:
    answered = _answered(place) - before
    lines = place.server_log.read_text(errors="replace").splitlines()
    errors = Counter(line.partition("|")[2].strip()[:100] for line in lines if "| ERROR" in line)
    return {
        "answered": answered.total(),
        "answered_5xx": sum(count for status, count in answered.items() if status.startswith("5")),
        "errors_logged": dict(errors.most_common(5)),
    }


def _worker_of(run: FlowRun) -> str | None:
    name = run.labels.get("prefect.worker.name")
    return None if name is None else str(name)


if __name__ == "__main__":
    main(*sys.argv[1:])
