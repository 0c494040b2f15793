"""A run that is no longer its process's to carry out: cancelled where no worker tells it, or taken for dead."""

import asyncio
import json
import time
from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelled, Cancelling, Crashed, Running, Scheduled

from promptmill.simulator import Simulator
from tasks.run.ownership import CancelledThere, TakenForDead, lost_to
from tests.support.commands import command
from tests.support.serving import KEY, client_of, ended, job_values, processes_of, reached, sent, start


@pytest.mark.parametrize(
    ("state", "run_count", "reason"),
    [
        pytest.param(Running(), 1, None, id="ours"),
        pytest.param(Running(name="Retrying"), 2, TakenForDead, id="under-way-elsewhere"),
        pytest.param(Cancelling(), 1, CancelledThere, id="being-cancelled"),
        pytest.param(Cancelled(), 1, CancelledThere, id="cancelled"),
        pytest.param(Crashed(), 1, TakenForDead, id="taken-for-dead"),
        pytest.param(Scheduled(), 1, TakenForDead, id="to-be-started-again"),
    ],
)
def test_a_run_is_ours_while_it_runs_as_the_attempt_that_we_began(state: State, run_count: int, reason: type | None):
    found = FlowRun(flow_id=uuid4(), state=state, run_count=run_count)

    assert type(lost_to(found, attempt=1)) is (reason or type(None))


async def until_sent(provider: Simulator, count: int) -> None:
    """Wait until so many requests were billed."""
    end = time.monotonic() + 60
    while sent(provider) < count:
        assert time.monotonic() < end
        await asyncio.sleep(0.1)


async def test_a_run_started_by_hand_is_cancelled_in_the_ui_and_keeps_its_answers(
    served: str, provider: Simulator, tmp_path: Path
):
    job = {**job_values(tmp_path, "by-hand-cancelled", 200), "limits": {"max_concurrency": 5}}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    provider.configure(latency_seconds=1.0)
    before = sent(provider)
    process = command("run", tmp_path / "job.yaml", api_url=served, base_url=provider.base_url)
    await until_sent(provider, before + 10)
    async with client_of(served) as client:
        runs = await client.read_flow_runs()
        run = next(one for one in runs if (one.parameters.get("job") or {}).get("name") == job["name"])
        await client.set_flow_run_state(run.id, Cancelling())
        _, errors = await asyncio.to_thread(process.communicate, timeout=180)
        done = await ended(client, run)
    paid = sent(provider) - before
    provider.configure(latency_seconds=0.0)
    again = command("run", tmp_path / "job.yaml", "--json", api_url=served, base_url=provider.base_url)
    output, _ = await asyncio.to_thread(again.communicate, timeout=180)

    assert (process.returncode, done.state_name) == (130, "Cancelled"), errors
    assert "Traceback" not in errors
    assert json.loads(output.splitlines()[-1])["reused"] == paid < 100
    assert KEY not in errors


async def test_a_run_that_somebody_deletes_in_prefect_sends_nothing_more_and_keeps_its_answers(
    served: str, provider: Simulator, tmp_path: Path
):
    job = {**job_values(tmp_path, "deleted", 200), "limits": {"max_concurrency": 5}}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    provider.configure(latency_seconds=1.0)
    before = sent(provider)
    async with client_of(served) as client:
        run = await start(client, "online-inference/online", job)
        await until_sent(provider, before + 10)
        processes = processes_of(run)
        await client.delete_flow_run(run.id)
    until = time.monotonic() + 40
    while any(Path(f"/proc/{one}").exists() for one in processes):
        assert time.monotonic() < until
        await asyncio.sleep(0.5)
    paid = sent(provider) - before
    provider.configure(latency_seconds=0.0)
    again = command("run", tmp_path / "job.yaml", "--json", api_url=served, base_url=provider.base_url)
    output, errors = await asyncio.to_thread(again.communicate, timeout=180)

    assert processes
    assert again.returncode == 0, errors
    assert json.loads(output.splitlines()[-1])["reused"] == paid < 100


async def test_a_run_that_is_taken_for_dead_while_it_lives_is_not_paid_for_twice(
    served: str, provider: Simulator, tmp_path: Path
):
    job = {**job_values(tmp_path, "alive", 200), "chunk_rows": 10, "limits": {"max_concurrency": 5}}
    provider.configure(latency_seconds=1.0)
    before = sent(provider)
    async with client_of(served) as client:
        run = await start(client, "online-inference/online", job)
        await until_sent(provider, before + 10)
        await client.set_flow_run_state(run.id, Crashed(message="No heartbeat."), force=True)
        until = time.monotonic() + 60
        while (await client.read_flow_run(run.id)).state_name == "Crashed":  # then it is to be started again
            assert time.monotonic() < until
            await asyncio.sleep(0.3)
        paid = sent(provider) - before  # by now it must have stopped
        provider.configure(latency_seconds=0.0)
        done = await reached(client, run, "Completed", 60)
    manifest = json.loads((Path(job["output"]["url"]) / "_manifest.json").read_bytes())

    assert done.run_count == 2
    assert manifest["reused"] == paid < 100
    assert sent(provider) - before == 200
