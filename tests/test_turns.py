"""Two runs over one output take turns; runs of different jobs go side by side."""

import asyncio
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun

from promptmill.simulator import Simulator
from tasks.turns import PROCESS, is_alive
from tests.serving import client_of, ended, job_values, reached, start

pytestmark = pytest.mark.xdist_group("shards")


async def test_a_second_run_of_a_job_waits_and_pays_for_nothing(served: str, provider: Simulator, tmp_path: Path):
    job = job_values(tmp_path, "twice", rows=30)
    job["limits"] = {"max_concurrency": 3}
    before = provider.ledger()["totals"]["requests"]
    provider.configure(latency_seconds=1.0)
    async with client_of(served) as client:
        first = await start(client, "online-inference/manual", job)
        await reached(client, first, "Running")
        second = await start(client, "online-inference/nightly", job, job_url=None)
        done = [await ended(client, one) for one in (first, second)]
        of_second = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[second.id]))
        logs = [one.message for one in await client.read_logs(log_filter=of_second)]
    manifest = json.loads((Path(job["output"]["url"]) / "_manifest.json").read_bytes())

    assert [one.state_name for one in done] == ["Completed", "Completed"]
    assert provider.ledger()["totals"]["requests"] - before == 30
    assert any("works on the same output" in line and str(first.id) in line for line in logs)
    assert (manifest["rows"], manifest["reused"], manifest["requests_sent"]) == (30, 30, 0)


def test_a_process_that_is_gone_from_this_machine_is_waited_for_no_more():
    gone = subprocess.Popen(["true"])
    gone.wait()
    here = f"{PROCESS}{platform.node()}:"

    assert not is_alive(["promptmill", f"{here}{gone.pid}"])
    assert is_alive(["promptmill", f"{here}{os.getppid()}"])
    assert is_alive([f"{PROCESS}another-machine:1"])
    assert is_alive(["promptmill"])


async def test_different_jobs_run_side_by_side(served: str, provider: Simulator, tmp_path: Path):
    provider.configure(latency_seconds=3.0)
    jobs = [job_values(tmp_path, name, rows=12) for name in ("this-one", "that-one")]
    for job in jobs:
        job["limits"] = {"max_concurrency": 2}
    async with client_of(served) as client:
        runs = [await start(client, "online-inference/manual", job) for job in jobs]
        together = await are_running_together(client, runs)
        done = [await ended(client, one) for one in runs]

    assert together
    assert [one.state_name for one in done] == ["Completed", "Completed"]


async def are_running_together(client: PrefectClient, runs: list[FlowRun]) -> bool:
    """Whether all were Running at one moment."""
    for _ in range(200):
        states: list[Any] = [(await client.read_flow_run(one.id)).state_name for one in runs]
        if states == ["Running"] * len(runs):
            return True
        if "Completed" in states:
            return False
        await asyncio.sleep(0.2)
    return False
