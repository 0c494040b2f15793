"""`make serve` for real: a fresh server, everything deployed, a worker, runs started by hand and by events."""

import asyncio
import json
import os
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.states import Scheduled

import promptmill
from promptmill.simulator import Simulator
from tests.support.serving import (
    KEY,
    NAMES,
    OLD_NAMES,
    ROOT,
    answer,
    client_of,
    ended,
    job_values,
    kill_midway,
    reached,
    sent,
    start,
)


async def test_everything_is_deployed_with_its_schedules(served: str):
    async with client_of(served) as client:
        deployments = await client.read_deployments()
        flows = {flow.id: flow.name for flow in await client.read_flows()}
        found = {f"{flows[one.flow_id]}/{one.name}": one for one in deployments}
        automations = {one.name for one in await client.read_automations()}

    looks = {schedule.slug: schedule.active for schedule in found["advance-batches/advance"].schedules}

    assert set(found) == {*NAMES, *OLD_NAMES}
    assert {name for name, one in found.items() if (one.description or "").startswith("The old name of")} == OLD_NAMES
    assert [schedule.active for schedule in found["online-inference/nightly"].schedules] == [False]
    assert (set(looks), looks["hourly"]) == ({"while-batches-are-in-flight", "hourly"}, True)
    assert [schedule.active for schedule in found["advance-batches/every-few-minutes"].schedules] == [False]
    assert {"promptmill-dead-runs", "promptmill-crashed-runs", "promptmill-on-dataset-published"} <= automations
    assert "promptmill-on-batches-submitted" in automations


async def test_a_schedule_makes_its_runs(served: str):
    async with client_of(served) as client:
        deployment = await client.read_deployment_by_name("advance-batches/advance")
        until = time.monotonic() + 90
        while not (runs := [one for one in await client.read_flow_runs() if one.auto_scheduled]):
            assert time.monotonic() < until
            await asyncio.sleep(1)

    assert {one.deployment_id for one in runs} == {deployment.id}


def test_bootstrapping_again_changes_nothing(served: str):
    checked = subprocess.run(
        [sys.executable, "deployments/bootstrap.py", "--check"],
        cwd=ROOT,
        env={**os.environ, "PREFECT_API_URL": served},
        capture_output=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout.decode() + checked.stderr.decode()
    assert b"missing" not in checked.stdout


async def test_a_bad_value_is_refused_when_the_run_is_created(served: str, tmp_path: Path):
    job = job_values(tmp_path, "refused")
    async with client_of(served) as client:
        deployment = await client.read_deployment_by_name("online-inference/online")
        with pytest.raises(Exception, match=r"chunk_rows|less than"):
            await client.create_flow_run_from_deployment(deployment.id, parameters={"job": {**job, "chunk_rows": 0}})


async def look(client: PrefectClient) -> FlowRun:
    """A run of advance-batches that somebody starts, once it has ended."""
    advance = await client.read_deployment_by_name("advance-batches/advance")
    return await ended(client, await client.create_flow_run_from_deployment(advance.id))


async def looks_at(client: PrefectClient, job: dict[str, Any]) -> list[FlowRun]:
    """The runs of advance-batches that the event of a job's submission has started, once there are some."""
    until = time.monotonic() + 60
    while not (found := [run for run in await client.read_flow_runs() if job["name"] in run.name and is_by_event(run)]):
        assert time.monotonic() < until
        await asyncio.sleep(0.5)
    return found


def is_by_event(run: FlowRun) -> bool:
    """Whether an automation started a run."""
    return run.created_by is not None and run.created_by.type == "AUTOMATION"


async def test_a_batch_job_is_left_to_advance_batches_which_then_rests(
    served: str, provider: Simulator, tmp_path: Path
):
    job = job_values(tmp_path, "left")
    provider.configure(batch_seconds=15.0)
    async with client_of(served) as client:
        submitted = await ended(client, await start(client, "batch-inference/batch", job))
        by_event = await looks_at(client, job)
        with_work = await active_looks(client)
        provider.configure(batch_seconds=0.5)
        last = await look(client)
        for _ in range(15):
            last = last if last.state_name == "Skipped" else await look(client)
        without_work = await active_looks(client)
        to_come = [run for run in await client.read_flow_runs() if run.auto_scheduled and is_to_come(run)]

    assert (submitted.state_name, submitted.name) == ("Completed", "left · 20 rows")
    assert {"left", "gpt-6-luna"} <= set(submitted.tags)
    assert by_event
    assert with_work == {"while-batches-are-in-flight", "hourly"}
    assert len(promptmill.read(job["output"]["url"])) == 20
    assert (last.name, without_work) == ("nothing in flight", {"hourly"})
    assert len(to_come) <= 3  # of the hourly one


def is_to_come(run: FlowRun) -> bool:
    """Whether a run is scheduled for later."""
    return run.state is not None and run.state.is_scheduled()


async def active_looks(client: PrefectClient) -> set[str | None]:
    """The schedules of advance-batches that are switched on."""
    deployment = await client.read_deployment_by_name("advance-batches/advance")
    return {schedule.slug for schedule in deployment.schedules if schedule.active}


@pytest.mark.parametrize("is_approved", [pytest.param(True, id="approved"), pytest.param(False, id="rejected")])
async def test_an_expensive_run_asks_a_person_first(
    is_approved: bool, served: str, provider: Simulator, tmp_path: Path
):
    job = {**job_values(tmp_path, f"asks-{is_approved}".lower()), "approve_above_usd": "0.000001"}
    async with client_of(served) as client:
        run = await start(client, "online-inference/online", job)
        await reached(client, run, "Suspended")
        sent_before = provider.ledger()["tiers"]
        await answer(client, run, decision="approve" if is_approved else "reject", budget_usd=1.0)
        done = await ended(client, run)

    assert done.state is not None
    if is_approved:
        assert done.state_name == "Completed", done.state.message
        assert len(promptmill.read(job["output"]["url"])) == 20
        manifest = json.loads((Path(job["output"]["url"]) / "_manifest.json").read_bytes())
        assert Decimal(manifest["budget_usd"]) == 1
    else:
        assert done.state_name == "Failed"
        assert "rejected" in (done.state.message or "")
        assert provider.ledger()["tiers"] == sent_before


async def asked_again(client: PrefectClient, run: FlowRun, force: bool) -> FlowRun:
    """A run that has ended, once a retry has it ask; `force` as Prefect's new UI retries, not as its classic one does."""
    await client.set_flow_run_state(run.id, Scheduled(name="AwaitingRetry"), force=force)
    return await reached(client, run, "Suspended")


async def test_an_approved_amount_holds_until_a_person_approves_another(
    served: str, provider: Simulator, tmp_path: Path
):
    job = {**job_values(tmp_path, "capped"), "approve_above_usd": "0.000001"}
    async with client_of(served) as client:
        run = await start(client, "online-inference/online", job)
        await reached(client, run, "Suspended")
        before = sent(provider)
        await answer(client, run, decision="approve", budget_usd=0.0001)
        stopped = await ended(client, run)
        another = await start(client, "online-inference/online", {**job, "approve_above_usd": None, "budget_usd": 5})
        stopped_too = await ended(client, another)
        at_the_cap = sent(provider) - before
        await asked_again(client, run, force=False)
        sent_before_asking = sent(provider) - before
        await answer(client, run, decision="approve")
        done = await ended(client, run)

    for one in (stopped, stopped_too):
        assert one.state is not None
        assert one.state_name == "Failed"
        assert "approved for this output" in (one.state.message or "")
    assert 0 < at_the_cap == sent_before_asking < 20
    assert done.state_name == "Completed"
    assert len(promptmill.read(job["output"]["url"])) == 20


@pytest.mark.parametrize("force", [pytest.param(False, id="classic-ui"), pytest.param(True, id="new-ui")])
async def test_a_run_that_nobody_approved_asks_again_when_it_is_retried(force: bool, served: str, tmp_path: Path):
    job = {**job_values(tmp_path, f"retried-{force}".lower()), "approve_above_usd": "0.000001"}
    job["approve_within_seconds"] = 10
    async with client_of(served) as client:
        run = await start(client, "online-inference/online", job)
        await reached(client, run, "Failed")
        while "Nobody approved" not in ((await client.read_flow_run(run.id)).state.message or ""):  # pyright: ignore[reportOptionalMemberAccess]
            await asyncio.sleep(0.5)
        await asked_again(client, run, force)
        await answer(client, run, decision="reject")
        rejected = await ended(client, run)
        await asked_again(client, run, force)
        await answer(client, run, decision="approve")
        done = await ended(client, run)

    assert rejected.state is not None
    assert "rejected" in (rejected.state.message or "")
    assert done.state_name == "Completed"
    assert len(promptmill.read(job["output"]["url"])) == 20


@pytest.fixture
def asks(request: pytest.FixtureRequest) -> bool:
    """Whether a run asks a person first. One that doesn't is started by Prefect's own command, so that this is killed too."""
    if not request.param:
        request.getfixturevalue("cold")
    return request.param


@pytest.mark.parametrize("asks", [pytest.param(False, id="plain"), pytest.param(True, id="approved")], indirect=True)
async def test_a_killed_run_crashes_and_goes_on_once_by_itself(
    asks: bool, served: str, provider: Simulator, tmp_path: Path
):
    job = {**job_values(tmp_path, f"killed-{asks}".lower(), rows=60), "chunk_rows": 5, "chunks_in_flight": 1}
    job |= {"limits": {"max_concurrency": 5}, "approve_above_usd": "0.000001" if asks else None}
    provider.configure(latency_seconds=1.0)
    async with client_of(served) as client:
        run = await start(client, "online-inference/online", job)
        if asks:
            await reached(client, run, "Suspended")
            await answer(client, run, decision="approve", budget_usd=1.0)
        await kill_midway(run, job)
        await reached(client, run, "Completed", 120)
        done = await client.read_flow_run(run.id)
    manifest = json.loads((Path(job["output"]["url"]) / "_manifest.json").read_bytes())

    assert done.run_count == 2
    assert manifest["budget_usd"] == ("1" if asks else None)
    assert (manifest["rows"], manifest["succeeded"]) == (60, 60)
    assert 15 <= manifest["reused"] < 60
    assert manifest["requests_sent"] == 60 - manifest["reused"]


def test_the_doctor_finds_a_served_promptmill_well(served: str, tmp_path: Path):
    job_file = tmp_path / "job.yaml"
    job_file.write_text(yaml.safe_dump(job_values(tmp_path, "examined")))
    found = examined(served, str(job_file))
    names = {one["name"] for one in found}

    assert [one for one in found if not one["is_well"]] == []
    assert names >= {"server", "leases", "worker", "deployments", "state", "output", "provider", "clock"}
    assert "filesystem" in next(one["detail"] for one in found if one["name"] == "leases")
    assert KEY not in str(found)


def examined(api_url: str, job: str) -> list[dict[str, Any]]:
    """What the doctor found."""
    done = subprocess.run(
        [sys.executable, "-m", "flows", "doctor", job, "--json"],
        cwd=ROOT,
        env={**os.environ, "PREFECT_API_URL": api_url},
        capture_output=True,
        check=False,
    )
    assert done.returncode in {0, 2}, done.stderr.decode()
    return json.loads(done.stdout.splitlines()[-1])
