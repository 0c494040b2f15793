"""Two runs over one output, in two processes or in two ways: together they pay for each row once."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import promptmill
from promptmill.batch.session import start_batches
from promptmill.checkpoints import output_lease
from promptmill.checkpoints.output_turn import Asking, Turn, releasing, take_turn_at
from promptmill.checkpoints.shard_lease import ShardLease
from promptmill.errors import LeaseLost, OutputInUse
from promptmill.job.spec import Job
from promptmill.provider.transport import Credentials
from promptmill.runs import publish
from promptmill.runs.plain import run_plainly
from promptmill.simulator import Simulator
from tests.support.batching import carry_batches
from tests.support.billing import assert_whole, billed, paid_twice
from tests.support.commands import command, write_job
from tests.support.jobs import MakeJob, plan
from tests.support.paths import ROOT

ROWS = 300
AT_ONCE = 10


def start(job: Job, folder: Path, base_url: str) -> "subprocess.Popen[str]":
    """A process that runs the job."""
    (folder / "job.json").write_text(job.model_dump_json())
    words = [sys.executable, "-m", "tests.support.running", str(folder / "job.json"), base_url]
    return subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def wait_until_sent(simulator: Simulator, requests: int) -> None:
    """Return once that many requests were answered."""
    deadline = time.monotonic() + 60
    while simulator.ledger()["totals"]["requests"] < requests:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def slow_job(make_job: MakeJob, simulator: Simulator) -> Job:
    """A job that takes at least six seconds."""
    simulator.configure(latency_seconds=0.2)
    return make_job(ROWS, limits={"max_concurrency": AT_ONCE}, chunk_rows=50)


@pytest.fixture
def environment(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials as users give them."""
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    monkeypatch.setenv("OPENAI_BASE_URL", simulator.base_url)


def test_two_processes_pay_for_each_row_once_and_both_end_well(
    slow_job: Job, tmp_path: Path, simulator: Simulator
) -> None:
    both = [start(slow_job, tmp_path, simulator.base_url) for _ in range(2)]
    said = [one.communicate(timeout=120)[1] for one in both]

    assert [one.returncode for one in both] == [0, 0], said
    assert simulator.ledger()["totals"]["requests"] == ROWS
    assert sum("Waiting for promptmill.run in Python (process " in text for text in said) == 1
    assert len(promptmill.read(slow_job.output.url)) == ROWS


def test_a_run_goes_on_at_once_when_the_one_before_it_was_killed(
    slow_job: Job, tmp_path: Path, simulator: Simulator
) -> None:
    first = start(slow_job, tmp_path, simulator.base_url)
    wait_until_sent(simulator, 30)
    second = start(slow_job, tmp_path, simulator.base_url)
    assert second.stderr is not None
    assert "Waiting for" in second.stderr.readline()
    first.send_signal(signal.SIGKILL)
    first.communicate()
    _, said = second.communicate(timeout=55)  # less than the period after which a silent run is followed

    assert second.returncode == 0, said
    lost_at_most = AT_ONCE + slow_job.checkpoint_rows * slow_job.chunks_in_flight
    assert ROWS <= simulator.ledger()["totals"]["requests"] <= ROWS + lost_at_most


@pytest.mark.usefixtures("environment")
async def test_a_run_online_waits_for_one_by_batch(make_job: MakeJob, simulator: Simulator) -> None:
    simulator.configure(batch_seconds=2.0)
    job = make_job(40, batch={"poll_seconds": 0.1})
    run = plan(job, Credentials(), mode="batch")
    turn = await take_turn_at(run.prepared.store.storage, Asking("a run by batch"))
    frame = pd.read_parquet(job.input.urls[0])

    async with asyncio.timeout(60):
        online = asyncio.create_task(asyncio.to_thread(promptmill.run, frame, job))
        async with releasing(turn):
            await carry_batches(job, Credentials())
        answers = await online

    assert_whole(answers.manifest, 40)
    assert simulator.ledger()["totals"]["requests"] == billed(simulator) == 40
    assert paid_twice(simulator) == 0


@pytest.mark.usefixtures("environment")
async def test_a_run_online_refuses_rows_that_batches_have_on_their_way(
    make_job: MakeJob, simulator: Simulator
) -> None:
    simulator.configure(batch_seconds=60.0)
    job = make_job(40, batch={"poll_seconds": 0.1})
    run = plan(job, Credentials(), mode="batch")
    await asyncio.to_thread(lambda: start_batches(run).step())

    with pytest.raises(OutputInUse, match=r"1 batches with 40 rows .* --mode batch"):
        await asyncio.to_thread(promptmill.run, pd.read_parquet(job.input.urls[0]), job)

    assert billed(simulator, "standard") == 0


@pytest.mark.usefixtures("environment")
async def test_a_run_that_was_told_not_to_wait_names_who_works_on_the_output(
    make_job: MakeJob, simulator: Simulator, tmp_path: Path
) -> None:
    job = make_job(5)
    turn = await turn_of(job)
    frame = pd.read_parquet(job.input.urls[0])

    async with releasing(turn):
        with pytest.raises(
            OutputInUse, match=r"^the other run \(process \d+ on .*, since .* UTC\) works on the same output"
        ):
            await asyncio.to_thread(promptmill.run, frame, job, wait=False)
        file = write_job(job, tmp_path)
        for words in (["run", file, "--no-wait"], ["sample", file, "--no-wait"]):
            process = command(*words, api_url="", base_url=simulator.base_url)
            _, said = await asyncio.to_thread(process.communicate)
            assert (process.returncode, "the other run (process " in said) == (2, True), said

    assert simulator.ledger()["counters"]["attempts"] == 0


async def test_ctrl_c_ends_a_wait(make_job: MakeJob, simulator: Simulator, tmp_path: Path) -> None:
    job = make_job(5)
    async with releasing(await turn_of(job)):
        process = command("sample", write_job(job, tmp_path), api_url="", base_url=simulator.base_url)
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        said = await asyncio.to_thread(next, (line for line in lines if "Waiting for" in line), "")
        process.send_signal(signal.SIGINT)
        await asyncio.to_thread(process.communicate)

    assert "Waiting for the other run (process " in said
    assert process.returncode == 130


async def test_a_run_that_lost_its_output_sends_and_publishes_nothing(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    run = plan(make_job(5), credentials)
    turn = await take_turn_at(run.prepared.store.storage, Asking("the first", run_id="a"))
    second = await take_turn_at(run.prepared.store.storage, Asking("its next attempt", run_id="a"))
    with pytest.raises(LeaseLost):
        turn.lease.renew()

    with pytest.raises(LeaseLost, match=r"taken over by its next attempt .* all that was answered is kept"):
        await run_plainly(replace(run, lease=turn.lease))
    turn.lease.release()
    second.lease.release()

    assert simulator.ledger()["counters"]["attempts"] == 0
    assert not os.path.exists(f"{run.prepared.output.url}/_manifest.json")


async def test_a_run_that_loses_its_output_while_it_writes_the_parts_replaces_nothing(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = plan(make_job(5), credentials)
    turn = await take_turn_at(run.prepared.store.storage, Asking("the first", run_id="a"))

    taken: list[Turn] = []

    def take_over_late(*given: Any) -> str:
        second = asyncio.run(take_turn_at(run.prepared.store.storage, Asking("its next attempt", run_id="a")))
        turn.lease._valid_until = 0.0  # pyright: ignore[reportPrivateUsage] - the machine slept
        taken.append(second)
        return ""

    monkeypatch.setattr(publish, "render_report", take_over_late)
    with pytest.raises(LeaseLost, match="taken over by its next attempt"):
        await run_plainly(replace(run, lease=turn.lease))

    taken[0].lease.release()

    assert not [
        name for name in os.listdir(run.prepared.output.path("")) if name.endswith((".parquet", ".json", ".html"))
    ]


async def turn_of(job: Job) -> Turn:
    """The output of a job, held by another run."""
    return await take_turn_at(plan(job, Credentials("test")).prepared.store.storage, Asking("the other run"))


async def test_a_run_that_takes_over_pays_for_no_row_that_a_shard_of_the_run_before_it_has_under_way(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two machines with Prefect servers of their own: neither can cancel the other's shards."""
    monkeypatch.setattr(output_lease, "RENEW_SECONDS", 0.3)
    simulator.configure(latency_seconds=0.3)
    job = make_job(60, limits={"max_concurrency": 4}, checkpoint_rows=4)
    run = plan(job, credentials)
    objects = run.prepared.store.storage
    parent = await take_turn_at(objects, Asking("the run that split", run_id="a"))
    shard = ShardLease(objects, Asking("its shard", run_id="a").holder())
    told: list[str] = []

    async def answer_shard() -> None:
        async with releasing(Turn(shard.begin(), has_waited=False)):
            await run_plainly(replace(run, lease=shard))

    working = asyncio.create_task(answer_shard())
    await asyncio.to_thread(wait_until_sent, simulator, 8)
    await asyncio.to_thread(parent.lease.release)  # it is gone, and its shard goes on
    turn = await take_turn_at(objects, Asking("a run elsewhere", tell=told.append))
    async with releasing(turn) as lease:
        manifest = (await run_plainly(replace(run, lease=lease))).manifest
    with pytest.raises(LeaseLost, match="the run of this shard no longer holds the output"):
        await working

    assert manifest.rows == 60
    assert simulator.ledger()["totals"]["requests"] == 60
    assert any("its shard" in text for text in told)
