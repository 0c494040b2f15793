"""A served Promptmill for tests: a fresh server with everything deployed and a worker, and how runs on it are followed.

The fixtures live for the whole test session, so that all modules of an xdist group share one server.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import SetStateStatus
from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventNameFilter
from prefect.settings import PREFECT_API_URL, temporary_settings

from benchmarks.rig import free_port
from promptmill.simulator import Simulator
from tests.support.paths import ROOT
from tests.support.rows import write_rows

KEY = "sk-that-must-not-show"
POOL = "promptmill"  # as deployments/serve.py calls it


@contextmanager
def serving(folder: Path, provider: Simulator, **environment: str) -> Iterator[str]:
    """`make serve` in a process of its own, with a home of its own; yields the API's URL. Its output is in folder/log.

    It has a server of its own unless the environment names one (PREFECT_API_URL).
    """
    with serve_process(folder, provider, **environment) as (_, api_url):
        yield api_url


@contextmanager
def serve_process(
    folder: Path, provider: Simulator, **environment: str
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The same, with the process, which leads a group as a terminal's does."""
    port = free_port()
    settings = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
        "PREFECT_HOME": str(folder / "prefect"),
        "PROMPTMILL_STATE_URL": str(folder / "state"),
        "PROMPTMILL_ALLOWED_URLS": f"{folder.parent},{ROOT}",  # the folders of all tests, and the project's
        "PROMPTMILL_SERVER_PORT": str(port),
        "PREFECT_WORKER_QUERY_SECONDS": "2",  # between two looks for runs to start
        "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "2",  # of a run whose deployment is at its limit
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": provider.base_url,
        **environment,
    }
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "deployments/serve.py"],
        cwd=ROOT,
        env=settings,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        _wait_until_ready(process, folder / "log")
        yield process, environment.get("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        log.close()


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 240
    while b"Promptmill is ready" not in log.read_bytes():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.5)


@contextmanager
def warm_runs(api_url: str, folder: Path) -> Iterator[None]:
    """Have runs forked from a warm process meanwhile (tests/support/warm_runs.py)."""
    fork_runs(api_url, folder)
    try:
        yield
    finally:
        (folder / "warm").unlink(missing_ok=True)  # which ends the warm process


def fork_runs(api_url: str, folder: Path) -> None:
    """Name the start of a forked run as the work pool's command."""
    set_command(api_url, f"{sys.executable} -I -S {ROOT}/tests/support/warm_runs.py {folder}/warm")


def start_runs_without_a_supervisor(api_url: str, python: str = sys.executable) -> None:
    """Name the command of runs in the work pool: Prefect then starts it, and no other Python that prepares it before.

    That saves a quarter of a run's CPU. Tests with a served Promptmill of their own leave the pool as bootstrap made it.
    """
    set_command(api_url, f"{python} -m prefect.engine")


def set_command(api_url: str, command: str) -> None:
    """Have the work pool start runs by a command."""

    async def change() -> None:
        async with client_of(api_url) as client:
            template = (await client.read_work_pool(POOL)).base_job_template
            template["variables"]["properties"]["command"]["default"] = command
            await client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template))

    asyncio.run(change())


@asynccontextmanager
async def client_of(api_url: str) -> AsyncGenerator[PrefectClient]:
    """A client of the served server."""
    with temporary_settings({PREFECT_API_URL: api_url}):
        async with get_client() as client:
            yield client


async def start(client: PrefectClient, name: str, job: dict[str, Any], **parameters: Any) -> FlowRun:
    """A run of a deployment."""
    deployment = await client.read_deployment_by_name(name)
    return await client.create_flow_run_from_deployment(deployment.id, parameters={"job": job, **parameters})


async def reached(client: PrefectClient, run: FlowRun, state_name: str, seconds: float = 180) -> FlowRun:
    """A run once it is in a state."""
    until = time.monotonic() + seconds
    while (found := await client.read_flow_run(run.id)).state_name != state_name:
        assert time.monotonic() < until, found.state
        await asyncio.sleep(0.3)
    return found


def processes_of(run: FlowRun) -> list[int]:
    """The processes that run it."""
    return processes_with("PREFECT__FLOW_RUN_ID", str(run.id))


def processes_with(name: str, value: str) -> list[int]:
    """The processes that have a value in their environment."""
    wanted = f"{name}={value}".encode()
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


async def kill_midway(run: FlowRun, job: dict[str, Any], saved: int = 3) -> None:
    """Kill the processes of a run, as `kill -9` does, once it has saved so many pieces of work."""
    checkpoints = Path(job["output"]["url"]) / "_checkpoints"
    until = time.monotonic() + 120
    while len(list(checkpoints.glob("*.parquet"))) < saved:
        assert time.monotonic() < until
        await asyncio.sleep(0.1)
    for process in processes_of(run):
        os.kill(process, signal.SIGKILL)


def message_of(run: FlowRun) -> str:
    """What a run's state says."""
    return "" if run.state is None else run.state.message or ""


async def answer(client: PrefectClient, run: FlowRun, **answers: object) -> None:
    """Answer what a suspended run asks.

    Prefect keeps the form a moment after the run's state says that it asks, and rejects an answer in between.
    """
    until = time.monotonic() + 30
    while (result := await client.resume_flow_run(run.id, run_input=answers)).status != SetStateStatus.ACCEPT:
        assert time.monotonic() < until, result
        await asyncio.sleep(0.3)


async def ended(client: PrefectClient, run: FlowRun) -> FlowRun:
    """A run once it has ended."""
    until = time.monotonic() + 240
    while not (found := await client.read_flow_run(run.id)).state or not found.state.is_final():  # pyright: ignore[reportOptionalMemberAccess]
        assert time.monotonic() < until, found.state
        await asyncio.sleep(0.5)
    return found


def job_values(folder: Path, name: str, rows: int = 20) -> dict[str, Any]:
    """A job as a form would send it."""
    return {
        "name": name,
        "input": {"url": str(write_rows(folder / f"{name}.parquet", [f"text {n}" for n in range(rows)]))},
        "request": {"model": "gpt-6-luna", "user": "Label: {{ text }}", "parameters": {"max_completion_tokens": 16}},
        "output": {"url": str(folder / f"{name}-out")},
        "provider": "openai",
        "batch": {"poll_seconds": 0.2},
    }


async def told_events(client: PrefectClient, name: str, about: FlowRun | str) -> list[Any]:
    """Events of a name about a flow run or a resource, once there are some.

    Jobs of several modules have the same name and share this server, so events of a job's name may be another module's.
    """
    resource = about if isinstance(about, str) else f"prefect.flow-run.{about.id}"
    chosen = EventFilter(event=EventNameFilter(name=[name]), any_resource=EventAnyResourceFilter(id=[resource]))
    until = time.monotonic() + 90
    while not (found := (await client.read_events(filter=chosen, limit=10)).events):
        assert time.monotonic() < until
        await asyncio.sleep(0.5)
    return list(found)


def sent(provider: Simulator) -> int:
    """Requests that the provider has billed."""
    return int(provider.ledger()["totals"].get("requests", 0))  # pyright: ignore


NAMES = {
    "online-inference/online",
    "online-inference/nightly",
    "online-inference/on-dataset",
    "answer-shard/shard",
    "batch-inference/batch",
    "advance-batches/advance",
    "estimate-cost/estimate",
    "steer/steer",
}
OLD_NAMES = {
    "online-inference/manual",
    "batch-inference/manual",
    "advance-batches/every-few-minutes",
    "estimate-cost/manual",
}  # of the version before this one
