"""Runs in shards on a served Promptmill: each a run of its own, killed, cancelled, capped, and on a Dask cluster."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling

import promptmill
from promptmill.simulator import Simulator
from tests.support.commands import command
from tests.support.serving import client_of, ended, job_values, processes_of, reached, start


def sharded(folder: Path, name: str, rows: int = 60, **changes: Any) -> dict[str, Any]:
    """A job in two shards, its provider slow enough to meet it at work."""
    return {**job_values(folder, name, rows), "shards": 2, "chunk_rows": 5, "chunks_in_flight": 1, **changes}


async def shards_of(client: PrefectClient, job: dict[str, Any], at_least: int | None = None) -> list[FlowRun]:
    """The runs of a job's shards, in the order of their making, once there are so many (None: as the job says)."""
    wanted: int = job["shards"] if at_least is None else at_least
    until = time.monotonic() + 120  # a busy machine starts a run within a minute or two
    while True:
        found = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=["promptmill-shard"]))
        )
        ours = [one for one in found if job["name"] in one.name]
        if len(ours) >= wanted:
            return sorted(ours, key=lambda one: str(one.created))
        assert time.monotonic() < until
        await asyncio.sleep(0.3)


def manifest_of(job: dict[str, Any]) -> dict[str, Any]:
    """What a finished run says of itself."""
    return json.loads((Path(job["output"]["url"]) / "_manifest.json").read_bytes())


def requests_sent(provider: Simulator) -> int:
    """By everybody so far."""
    return provider.ledger()["totals"]["requests"]


async def test_a_run_in_shards_publishes_one_output(served: str, provider: Simulator, tmp_path: Path):
    job, before = sharded(tmp_path, "in-three", shards=3), requests_sent(provider)
    async with client_of(served) as client:
        done = await ended(client, await start(client, "online-inference/online", job))
        shards = await shards_of(client, job)
    manifest = manifest_of(job)

    assert done.state_name == "Completed", done.state
    assert [one.state_name for one in shards] == ["Completed"] * 3
    assert len({one.id for one in shards}) == 3
    assert requests_sent(provider) - before == 60
    assert promptmill.read(job["output"]["url"])["id"].tolist() == [f"r{n}" for n in range(60)]
    assert (manifest["rows"], manifest["requests_sent"], manifest["reused"]) == (60, 60, 0)
    assert set(manifest["flow_run_ids"]) == {str(done.id), *(str(one.id) for one in shards)}
    assert not list((Path(job["output"]["url"]) / "_checkpoints" / "shards").rglob("*.json"))


@pytest.mark.usefixtures("cold")
async def test_a_killed_shard_is_run_again_alone(served: str, provider: Simulator, tmp_path: Path):
    job = sharded(tmp_path, "one-dies", shards=3, limits={"max_concurrency": 6})
    before = requests_sent(provider)
    provider.configure(latency_seconds=1.0)
    async with client_of(served) as client:
        run = await start(client, "online-inference/online", job)
        victim = await at_work(client, job)
        for process in processes_of(victim):
            os.kill(process, signal.SIGKILL)
        done = await reached(client, run, "Completed", 140)  # it waits 20 s before the next attempt
        shards = await shards_of(client, job, 4)
    manifest = manifest_of(job)

    assert done.state_name == "Completed", done.state
    assert sorted(one.state_name or "" for one in shards) == ["Completed", "Completed", "Completed", "Crashed"]
    assert [one.parameters["attempt"] for one in shards if one.parameters["shard"] == victim.parameters["shard"]] == [
        1,
        2,
    ]
    assert (manifest["rows"], manifest["succeeded"]) == (60, 60)
    assert requests_sent(provider) - before <= 60 + 2 + 5  # in flight and unsaved in the one that died


async def at_work(client: PrefectClient, job: dict[str, Any]) -> FlowRun:
    """A shard's run that has processes, once some rows of the job are answered."""
    folder = Path(job["output"]["url"]) / "_checkpoints"
    until = time.monotonic() + 120  # a busy machine starts a run within a minute or two
    while True:
        running = [one for one in await shards_of(client, job) if one.state_name == "Running" and processes_of(one)]
        if running and len(list(folder.glob("*.parquet"))) >= 2:
            return running[0]
        assert time.monotonic() < until
        await asyncio.sleep(0.2)


async def test_a_killed_run_finds_its_shards_at_work_and_goes_on_with_them(
    served: str, provider: Simulator, tmp_path: Path
):
    job = sharded(tmp_path, "parent-dies", limits={"max_concurrency": 3})
    before = requests_sent(provider)
    provider.configure(latency_seconds=2.0)
    async with client_of(served) as client:
        run = await start(client, "online-inference/online", job)
        await at_work(client, job)
        for process in processes_of(run):
            os.kill(process, signal.SIGKILL)
        until = time.monotonic() + 150
        while (done := await client.read_flow_run(run.id)).state_name != "Completed":
            assert time.monotonic() < until, done.state
            await asyncio.sleep(0.5)
        shards = await shards_of(client, job)

    assert done.run_count == 2
    assert len(shards) == 2
    assert requests_sent(provider) - before == 60
    assert manifest_of(job)["succeeded"] == 60


async def test_cancelling_a_run_cancels_its_shards_and_keeps_what_they_answered(
    served: str, provider: Simulator, tmp_path: Path
):
    job = sharded(tmp_path, "cancelled", limits={"max_concurrency": 3})
    provider.configure(latency_seconds=1.0)
    async with client_of(served) as client:
        run = await start(client, "online-inference/online", job)
        await at_work(client, job)
        await client.set_flow_run_state(run.id, Cancelling())
        done = await ended(client, run)
        shards = [await ended(client, one) for one in await shards_of(client, job)]
        sent = requests_sent(provider)
        assert not list((Path(job["output"]["url"]) / "_checkpoints" / "shards").rglob("plan.json"))
        await asyncio.sleep(3)
        assert requests_sent(provider) == sent
        provider.configure(latency_seconds=0.0)
        again = await ended(client, await start(client, "online-inference/online", job))
    manifest = manifest_of(job)

    assert done.state_name == "Cancelled"
    assert {one.state_name for one in shards} <= {"Cancelled"}
    assert again.state_name == "Completed"
    assert manifest["reused"] >= 10
    assert manifest["reused"] + manifest["requests_sent"] == 60


async def test_a_run_started_by_hand_is_cancelled_together_with_its_shards(
    served: str, provider: Simulator, tmp_path: Path
):
    job = sharded(tmp_path, "by-hand-in-shards", limits={"max_concurrency": 3})
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    provider.configure(latency_seconds=1.0)
    process = command("run", tmp_path / "job.yaml", api_url=served, base_url=provider.base_url)
    async with client_of(served) as client:
        parent = (await at_work(client, job)).parent_task_run_id
        assert parent is not None
        run = await client.read_flow_run((await client.read_task_run(parent)).flow_run_id)  # pyright: ignore
        await client.set_flow_run_state(run.id, Cancelling())
        _, errors = await asyncio.to_thread(process.communicate, timeout=60)
        done = await client.read_flow_run(run.id)
        shards = [await ended(client, one) for one in await shards_of(client, job)]
    sent = requests_sent(provider)
    await asyncio.sleep(3)

    assert (process.returncode, done.state_name) == (130, "Cancelled"), errors
    assert {one.state_name for one in shards} == {"Cancelled"}
    assert requests_sent(provider) == sent
    assert "Traceback" not in errors


async def test_a_run_without_shards_ends_those_that_a_dead_run_left_at_work(
    served: str, provider: Simulator, tmp_path: Path
):
    job, before = sharded(tmp_path, "left-behind", limits={"max_concurrency": 3}), requests_sent(provider)
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    provider.configure(latency_seconds=2.0)
    dead = command("run", tmp_path / "job.yaml", api_url=served, base_url=provider.base_url, is_warm=False)
    async with client_of(served) as client:
        await at_work(client, job)
        dead.kill()
        dead.communicate()
        whole = ("run", tmp_path / "job.yaml", "--set", "shards=1", "--json")
        again = command(*whole, api_url=served, base_url=provider.base_url)
        output, errors = await asyncio.to_thread(again.communicate, timeout=120)
        shards = await shards_of(client, job)

    assert again.returncode == 0, errors
    assert json.loads(output.splitlines()[-1])["succeeded"] == 60
    assert {one.state_name for one in shards} == {"Cancelled"}
    assert requests_sent(provider) - before == 60


async def test_a_budget_holds_over_all_shards(served: str, provider: Simulator, tmp_path: Path):
    job = sharded(tmp_path, "capped", pricing={"input_per_mtok": "0", "output_per_mtok": "1000000"})
    job["request"]["parameters"] = {"max_completion_tokens": 1}
    job["max_failure_ratio"] = 1  # every answer is cut
    job["budget_usd"] = "31"  # a request costs 1
    before = requests_sent(provider)
    async with client_of(served) as client:
        done = await ended(client, await start(client, "online-inference/online", job))
        assert done.state_name == "Failed"
        assert "budget_usd" in (done.state.message or "")  # pyright: ignore[reportOptionalMemberAccess]
        assert requests_sent(provider) - before == 31
        job["budget_usd"] = "100"
        again = await ended(client, await start(client, "online-inference/online", job))

    assert again.state_name == "Completed"
    assert requests_sent(provider) - before == 60
    assert float(manifest_of(job)["cost_usd"]) == 60


async def test_a_shard_that_must_stop_stops_the_run_with_its_reason(served: str, provider: Simulator, tmp_path: Path):
    job = sharded(tmp_path, "refused")
    provider.configure(quota_after=requests_sent(provider) + 10)
    try:
        async with client_of(served) as client:
            done = await ended(client, await start(client, "online-inference/online", job))
    finally:
        provider.configure(quota_after=None)

    assert done.state_name == "Failed"
    assert "quota" in (done.state.message or "")  # pyright: ignore[reportOptionalMemberAccess]


async def test_a_run_on_a_dask_cluster_answers_every_row_once(served: str, provider: Simulator, tmp_path: Path):
    job, before = sharded(tmp_path, "on-dask", task_runner="dask"), requests_sent(provider)
    async with client_of(served) as client:
        done = await ended(client, await start(client, "online-inference/online", job))
    manifest = manifest_of(job)

    assert done.state_name == "Completed", done.state
    assert requests_sent(provider) - before == 60
    assert (manifest["rows"], manifest["requests_sent"]) == (60, 60)
