"""Ending a run early: answers on their way are waited for, and nothing takes long once somebody waits for the end."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from promptmill.checkpoints import saver
from promptmill.checkpoints.store import Store
from promptmill.errors import BudgetExhausted, Interrupted, ProviderRefused, RunStopped, StorageFailed
from promptmill.provider.transport import Credentials
from promptmill.runs import draining
from promptmill.runs.chunk import complete_chunk
from promptmill.runs.chunk_loop import drive_chunks
from promptmill.runs.run import answering
from promptmill.simulator import Simulator
from tests.support.jobs import MakeJob, carry_out, plan
from tests.support.unreliable import Full


async def test_a_run_that_its_provider_stops_waits_for_slow_answers_which_are_paid_for(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "_DRAIN_SECONDS", 0.1)
    simulator.configure(latency_seconds=1.0, latency_jitter=0.8, quota_after=13)

    with pytest.raises(ProviderRefused):
        await carry_out(make_job(40, chunk_rows=40, limits={"max_concurrency": 20}), credentials)
    paid = simulator.ledger()["totals"]["requests"]
    simulator.configure(latency_seconds=0.0, quota_after=None)
    manifest = await carry_out(make_job(40, chunk_rows=40), credentials)

    assert manifest.reused == paid == 13


@pytest.mark.parametrize(
    "first", [pytest.param(None, id="running"), pytest.param(BudgetExhausted("no more"), id="stopping-already")]
)
async def test_an_interrupted_run_is_given_seconds_whatever_it_was_doing(
    first: RunStopped | None,
    make_job: MakeJob,
    credentials: Credentials,
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(draining, "_DRAIN_SECONDS", 0.2)
    simulator.configure(latency_seconds=4.0)
    run = plan(make_job(5), credentials)
    began = time.monotonic()

    with pytest.raises(type(first) if first is not None else Interrupted):
        async with answering(run) as engine:
            driving = asyncio.ensure_future(drive_chunks(engine, complete_chunk, complete_chunk))
            while engine.client.counters.in_flight < 2:  # as many as may be out before the first answer
                await asyncio.sleep(0.01)
            if first is not None:
                engine.stop.because(first)
                await asyncio.sleep(0.1)
            engine.stop.interrupt(Interrupted())
            await driving

    assert time.monotonic() - began < 3.0


async def test_a_run_that_prefect_cancels_again_and_again_keeps_the_answers_on_their_way(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    """So it does when the lease of a deployment's concurrency limit can't be renewed (prefect 3.8.8, flow_engine.py)."""
    simulator.configure(latency_seconds=1.0)
    run = plan(make_job(20, limits={"max_concurrency": 5}), credentials)

    with anyio.CancelScope() as scope:
        async with answering(run) as engine:
            asyncio.get_running_loop().call_later(1.5, scope.cancel)
            await drive_chunks(engine, complete_chunk, complete_chunk)
    paid = simulator.ledger()["totals"]["requests"]
    simulator.configure(latency_seconds=0.0)
    manifest = await carry_out(make_job(20), credentials)

    assert scope.cancelled_caught
    assert manifest.reused == paid < 20


@pytest.mark.parametrize(
    ("in_flight", "checkpoint_rows"),
    [
        pytest.param(1, 1, id="one-at-a-time"),
        pytest.param(3, 1, id="more-in-flight"),
        pytest.param(1, 4, id="more-unsaved"),
        pytest.param(2, 4, id="both"),
    ],
)
async def test_nothing_is_sent_once_a_save_has_failed(
    in_flight: int,
    checkpoint_rows: int,
    make_job: MakeJob,
    credentials: Credentials,
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every answer that comes later is lost with the process: a kill may cost those in flight and unsaved, no more."""
    monkeypatch.setattr(saver, "_RETRY_SECONDS", 0.02)
    limits = {"max_concurrency": in_flight}
    job = make_job(40, chunk_rows=40, checkpoint_rows=checkpoint_rows, limits=limits)
    run = plan(job, credentials)
    Path(job.output.url, "_checkpoints").write_text("a file where the folder should be")

    async with answering(run) as engine:
        with pytest.raises(StorageFailed, match="can't be written"):
            await drive_chunks(engine, complete_chunk, complete_chunk)

    assert simulator.ledger()["totals"]["requests"] <= in_flight + checkpoint_rows
    assert engine.places.held == 0


@pytest.mark.parametrize("files", [0, 1, 3])
async def test_a_disk_that_fills_up_costs_no_more_than_a_kill(
    files: int, make_job: MakeJob, credentials: Credentials, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is paid again once there is room: those in flight, and `checkpoint_rows` of each chunk in flight."""
    monkeypatch.setattr(saver, "_RETRY_SECONDS", 0.02)
    bounds = {"chunks_in_flight": 1, "checkpoint_rows": 4, "limits": {"max_concurrency": 3}}
    job = make_job(40, chunk_rows=10, **bounds)
    run = plan(job, credentials)
    disk = Full(run.prepared.store.storage.url)
    disk.room = 7_000 * files  # an answer file takes six to seven thousand bytes
    full = replace(run, prepared=replace(run.prepared, store=Store(disk)))

    async with answering(full) as engine:
        with pytest.raises(StorageFailed, match="No space left"):
            await drive_chunks(engine, complete_chunk, complete_chunk)
    sent = simulator.ledger()["totals"]["requests"]
    manifest = await carry_out(job, credentials)

    assert manifest.succeeded == 40
    assert sent < 40
    assert simulator.ledger()["totals"]["requests"] <= 40 + 3 + 4
