"""Two runs over one output take turns; runs of different jobs go side by side."""

import asyncio
import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling

from promptmill.simulator import Simulator
from promptmill.storage import Storage
from tasks.run.one_at_a_time import OUTPUT, PROCESS, is_alive, output_digest, runs_at_work
from tests.support.commands import command
from tests.support.serving import client_of, ended, job_values, message_of, reached, start


async def test_a_second_run_of_a_job_waits_and_pays_for_nothing(served: str, provider: Simulator, tmp_path: Path):
    job = job_values(tmp_path, "twice", rows=30)
    job["limits"] = {"max_concurrency": 3}
    before = provider.ledger()["totals"]["requests"]
    provider.configure(latency_seconds=6.0)  # the first takes a minute, if nobody makes it faster
    async with client_of(served) as client:
        first = await start(client, "online-inference/online", job)
        await reached(client, first, "Running")
        second = await start(client, "online-inference/nightly", job, job_url=None)
        logs = await logged(client, second, "works on the same output")
        provider.configure(latency_seconds=0.0)
        done = [await ended(client, one) for one in (first, second)]
    manifest = json.loads((Path(job["output"]["url"]) / "_manifest.json").read_bytes())

    assert [one.state_name for one in done] == ["Completed", "Completed"]
    assert provider.ledger()["totals"]["requests"] - before == 30
    assert any("works on the same output" in line and str(first.id) in line for line in logs)
    assert (manifest["rows"], manifest["reused"], manifest["requests_sent"]) == (30, 0, 30)  # the first's, left alone


async def logged(client: PrefectClient, run: FlowRun, text: str) -> list[str]:
    """The log of a run, once it has a line with that text."""
    of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))
    until = time.monotonic() + 90
    while time.monotonic() < until:
        lines = [line.message for line in await client.read_logs(log_filter=of_run)]
        if any(text in line for line in lines):
            return lines
        await asyncio.sleep(0.5)
    raise AssertionError(f"no line with {text!r}")


async def test_a_run_that_waited_does_not_replace_what_another_job_made_meanwhile(
    served: str, provider: Simulator, tmp_path: Path
):
    job, before = job_values(tmp_path, "whose-output", rows=20), provider.ledger()["totals"]["requests"]
    job["limits"] = {"max_concurrency": 2}
    other = {**job, "request": {**job["request"], "user": "Say more: {{ text }}"}}
    provider.configure(latency_seconds=1.0)
    async with client_of(served) as client:
        first = await start(client, "online-inference/online", job)
        await reached(client, first, "Running")
        second = await start(client, "online-inference/online", other)
        done = [await ended(client, one) for one in (first, second)]

    assert [one.state_name for one in done] == ["Completed", "Failed"]
    assert "holds the output of another job" in message_of(done[1])
    assert provider.ledger()["totals"]["requests"] - before == 20


async def test_a_run_that_is_cancelled_while_it_waits_ends_at_once_and_leaves_the_other_alone(
    served: str, provider: Simulator, tmp_path: Path
):
    job = {**job_values(tmp_path, "no-more-waiting", rows=20), "limits": {"max_concurrency": 1}}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    provider.configure(latency_seconds=1.0)
    async with client_of(served) as client:
        first = await start(client, "online-inference/online", job)
        await reached(client, first, "Running")
        waiting = command("run", tmp_path / "job.yaml", api_url=served, base_url=provider.base_url)
        second = await other_run_of(client, job, first)
        await client.set_flow_run_state(second.id, Cancelling())
        _, errors = await asyncio.to_thread(waiting.communicate, timeout=30)
        done = [await ended(client, one) for one in (second, first)]

    assert (waiting.returncode, "Traceback" in errors) == (130, False), errors
    assert [one.state_name for one in done] == ["Cancelled", "Completed"]


async def other_run_of(client: PrefectClient, job: dict[str, Any], first: FlowRun) -> FlowRun:
    """The run of a job that isn't the first, once it waits for its turn."""
    output = output_digest(Storage(job["output"]["url"]))
    while True:
        for one in await runs_at_work(client):
            if one.id != first.id and one.labels.get(OUTPUT) == output:
                return one
        await asyncio.sleep(0.3)


@pytest.mark.parametrize(
    ("one", "another"),
    [
        pytest.param("out", "{here}/out/", id="relative"),
        pytest.param("{here}/out", "file://{here}/out", id="with-a-protocol"),
        pytest.param("s3://bucket/out", "s3a://bucket/out/", id="another-name-of-a-protocol"),
    ],
)
def test_an_output_is_the_same_however_its_url_is_spelt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one: str, another: str
):
    monkeypatch.chdir(tmp_path)
    first, second = (output_digest(Storage(url.format(here=tmp_path))) for url in (one, another))

    assert first == second != output_digest(Storage(f"{tmp_path}/elsewhere"))


def test_a_run_stops_waiting_for_a_process_that_is_gone_from_this_machine():
    gone = subprocess.Popen(["true"])
    gone.wait()
    here = platform.node()

    assert not is_alive({PROCESS: f"{here}:{gone.pid}"})
    assert is_alive({PROCESS: f"{here}:{os.getppid()}"})
    assert is_alive({PROCESS: "another-machine:1"})
    assert is_alive({})


async def test_different_jobs_run_side_by_side(served: str, provider: Simulator, tmp_path: Path):
    provider.configure(latency_seconds=3.0)
    jobs = [job_values(tmp_path, name, rows=12) for name in ("this-one", "that-one")]
    for job in jobs:
        job["limits"] = {"max_concurrency": 2}
    async with client_of(served) as client:
        runs = [await start(client, "online-inference/online", job) for job in jobs]
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
