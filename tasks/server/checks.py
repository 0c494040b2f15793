"""Checks what Promptmill needs on a Prefect server: pool, worker, blocks, automations, deployments, limits, leases."""

import time
from pathlib import Path

import prefect
from prefect.client.orchestration import PrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from promptmill.errors import PromptmillError
from promptmill.job.spec import Job
from promptmill.planning.doctor import Finding, look_at_clock
from promptmill.public_url import public_text, public_url
from tasks.prefect_internals.lease_storage import IN_MEMORY, lease_storage_of
from tasks.server.outages import CALL_ERRORS
from tasks.server.resources import needs, pool_name
from tasks.server.shared_limit import sharing
from tasks.server.work_pool import DEFAULT_TYPE

DEPLOYMENTS = (
    "online-inference/online",
    "online-inference/nightly",
    "online-inference/on-dataset",
    "answer-shard/shard",
    "batch-inference/batch",
    "advance-batches/advance",
    "estimate-cost/estimate",
    "steer/steer",
)
_OUR_WORKER = Path(__file__).parents[2] / "deployments/serve.py"  # in a checkout
_NO_ANSWER = (*CALL_ERRORS, RuntimeError)  # RuntimeError: Prefect couldn't start a server for this process


async def look_at_server(job: Job | None) -> list[Finding]:
    """Findings about the server and its parts; a single finding if no server is set."""
    url = PREFECT_API_URL.value()
    if not url:
        detail = (
            "PREFECT_API_URL is not set: `promptmill run` answers the rows in its own process; schedules, "
            "triggers and the UI need one (`make serve`)"
        )
        return [Finding("server", job is None or job.limits.shared is None, detail)]
    try:
        async with get_client() as client:
            found = await _versions(client, url)
            for look in (_leases, _needs, _worker, _deployments):
                found.extend(await look(client))
            if job is not None and job.limits.shared is not None:
                found.append(await _limit(job))
            return found
    except _NO_ANSWER as error:
        remedy = "Start it, or check PREFECT_API_URL and PREFECT_API_KEY."
        return [
            Finding(
                "server",
                False,
                f"{public_url(url)} doesn't answer: {type(error).__name__}: {public_text(str(error), url)}. {remedy}",
            )
        ]


async def _versions(client: PrefectClient, url: str) -> list[Finding]:
    answer = await client.request("GET", "/admin/version")
    theirs, ours = str(answer.json()), prefect.__version__
    is_same = theirs.split(".")[:2] == ours.split(".")[:2]
    detail = f"{public_url(url)}, prefect {theirs}" + (
        "" if is_same else f"; ours is {ours}. Install the same minor version"
    )
    return [Finding("server", is_same, detail), look_at_clock("server", answer.headers.get("date"), time.time())]


async def _leases(client: PrefectClient) -> list[Finding]:
    """The place where the server keeps the leases of runs, and the remedy if that is its memory."""
    try:
        place = lease_storage_of((await client.request("GET", "/admin/settings")).json())
    except (*_NO_ANSWER, ValueError):
        place = None
    if place is None:
        return [
            Finding("leases", True, "the server doesn't say where it keeps them; see docs/deploying.md if it forgets")
        ]
    advice = (
        "in the server's memory: if the server restarts, each run ends within four minutes, and goes on once. Set "
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE there (docs/deploying.md)"
    )
    return [Finding("leases", True, advice if place == IN_MEMORY else f"kept by {place}")]


async def _needs(client: PrefectClient) -> list[Finding]:
    remedy = "missing. Run: promptmill deploy"
    found: list[Finding] = []
    for need in needs(client):
        is_there = await need.is_there()
        found.append(Finding(need.name, is_there, "there" if is_there else remedy))
    return found


async def _worker(client: PrefectClient) -> list[Finding]:
    try:
        kind = (await client.read_work_pool(pool_name())).type
        workers = await client.read_workers_for_work_pool(pool_name())
    except ObjectNotFound:
        kind, workers = DEFAULT_TYPE, []
    online = [worker.name for worker in workers if worker.status == "ONLINE"]
    return [Finding("worker", bool(online), ", ".join(online) or worker_remedy(pool_name(), kind))]


def worker_remedy(pool: str, kind: str) -> str:
    """The remedy if a pool has no worker. For a process pool it names ours, which tells its runs before it ends."""
    ours = "python deployments/serve.py --worker" if _OUR_WORKER.exists() else f"promptmill worker --pool {pool}"
    command = ours if kind == "process" else f"prefect worker start --pool {pool}"
    needed = "" if kind == "process" else f" (Prefect's own worker, with prefect-{kind} installed)"
    return f"no worker is online, so runs stay Scheduled. Run: {command}{needed}"


async def _deployments(client: PrefectClient) -> list[Finding]:
    missing: list[str] = []
    for name in DEPLOYMENTS:
        try:
            await client.read_deployment_by_name(name)
        except ObjectNotFound:
            missing.append(name)
    detail = f"missing: {', '.join(missing)}. Run: promptmill deploy" if missing else "all are there"
    return [Finding("deployments", not missing, detail)]


async def _limit(job: Job) -> Finding:
    name = f"limit {job.limits.shared}"
    try:
        async with sharing(job.limits):
            return Finding(name, True, "requests and tokens are there")
    except PromptmillError as error:
        return Finding(name, False, str(error))
