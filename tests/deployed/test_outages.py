"""The server away in the middle of runs, and a worker killed: nothing is lost, nothing is paid for twice."""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import promptmill
from promptmill.output.manifest import read_manifest
from promptmill.simulator import Simulator
from promptmill.storage import Storage
from tasks.server.automations import dead_runs
from tests.support.own_server import SHARED_PER_MINUTE, OwnServer, kill
from tests.support.serving import client_of, job_values, message_of, processes_of, reached, sent, start

AWAY_SECONDS = 45
BLOCKS = 3  # of a second's worth each: what a process may have leased of a shared limit and not used
PER_SECOND = SHARED_PER_MINUTE // 60
pytestmark = pytest.mark.xdist_group("outages")


def asked(provider: Simulator, model: str) -> int:
    """Requests of a model that were billed."""
    return int(provider.ledger()["models"].get(model, {}).get("requests", 0))  # pyright: ignore


async def until(condition: Any, seconds: float = 60) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.2)


async def test_runs_go_on_while_the_server_is_away_but_never_beyond_what_they_leased(
    own: OwnServer, own_provider: Simulator, tmp_path: Path
):
    alone = {**job_values(tmp_path, "alone", 160), "chunk_rows": 10, "limits": {"max_concurrency": 8}}
    sharing = {**job_values(tmp_path, "sharing", 200), "chunk_rows": 20, "limits": {"shared": "shared"}}
    sharing["request"] = {**sharing["request"], "model": "gpt-4o-mini"}
    mine, shared = "gpt-6-luna", "gpt-4o-mini"
    own_provider.reset()
    own_provider.configure(latency_seconds=2.0)
    with own.worker():
        async with client_of(own.api_url) as client:
            runs = [
                await start(client, "online-inference/online", alone),
                await start(client, "online-inference/nightly", sharing, job_url=None),
            ]
            await until(lambda: asked(own_provider, mine) >= 16 and asked(own_provider, shared) >= 2 * PER_SECOND)
        own.kill()
        before = {model: asked(own_provider, model) for model in (mine, shared)}
        await asyncio.sleep(AWAY_SECONDS)
        meanwhile = {model: asked(own_provider, model) - before[model] for model in (mine, shared)}
        own.start()
        async with client_of(own.api_url) as client:
            done = [await reached(client, run, "Completed", 120) for run in runs]
    manifests = [read_manifest(Storage(job["output"]["url"])) for job in (alone, sharing)]

    assert meanwhile[mine] >= 100
    assert meanwhile[shared] <= BLOCKS * PER_SECOND
    assert [one.run_count for one in done] == [1, 1]
    assert [asked(own_provider, model) for model in (mine, shared)] == [160, 200]
    assert [(one.rows, one.succeeded, one.requests_sent) for one in manifests if one] == [
        (160, 160, 160),
        (200, 200, 200),
    ]


async def test_a_run_whose_worker_was_killed_with_it_crashes_and_goes_on_under_the_next_worker(
    own: OwnServer, own_provider: Simulator, tmp_path: Path
):
    job = {**job_values(tmp_path, "orphan", 60), "chunk_rows": 5, "chunks_in_flight": 1}
    job["limits"] = {"max_concurrency": 5}
    own_provider.configure(latency_seconds=2.0)
    before = sent(own_provider)
    async with client_of(own.api_url) as client:
        with own.worker(is_prefects=True) as worker:
            run = await start(client, "online-inference/online", job)
            automation = dead_runs(10, f"prefect.flow-run.{run.id}")  # three heartbeats would take nine minutes
            automation.name = "a-dead-run"
            automation = await automation.acreate()
            checkpoints = Path(job["output"]["url"]) / "_checkpoints"
            await until(lambda: len(list(checkpoints.glob("*.parquet"))) >= 3)
            kill(worker)
            for process in processes_of(run):
                os.kill(process, signal.SIGKILL)
        paid = sent(own_provider) - before
        own_provider.configure(latency_seconds=0.0)
        crashed = await reached(client, run, "Crashed")
        await automation.adelete()
        with own.worker():
            done = await reached(client, run, "Completed")
    manifest = read_manifest(Storage(job["output"]["url"]))

    assert "No heartbeat" in message_of(crashed)
    assert done.run_count == 2
    assert manifest is not None
    assert (manifest.rows, manifest.succeeded) == (60, 60)
    assert manifest.reused >= paid - 5 - 10  # all but what was on its way or not yet saved
    assert len(promptmill.read(job["output"]["url"])) == 60
