"""Several processes answer one run: each row once, one budget, one limit, one end, whatever dies."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import promptmill
from promptmill.checkpoints.lease_claims import Claims
from promptmill.checkpoints.output_turn import Asking
from promptmill.checkpoints.spend import SpendRecords
from promptmill.errors import BudgetExhausted, Interrupted, RunStopped, StoppedByOrder
from promptmill.job.spec import Job
from promptmill.output.manifest import Manifest
from promptmill.provider.transport import Credentials
from promptmill.runs.engine import LookUpCredentials
from promptmill.runs.run import PendingRun
from promptmill.simulator import Simulator
from promptmill.standalone.answering import Alone
from promptmill.standalone.interruption import Interruption
from promptmill.standalone.running import run_alone
from promptmill.steering.giving import give_order, wait_until_heard
from promptmill.steering.orders import Action
from tests.support.billing import assert_whole
from tests.support.jobs import MakeJob, carry_out, plan

ROWS = 240
IN_FLIGHT = 8


@pytest.fixture
def job(make_job: MakeJob, simulator: Simulator) -> Job:
    """A job of two processes that takes some seconds."""
    simulator.configure(latency_seconds=0.1)
    return make_job(ROWS, processes=2, limits={"max_concurrency": IN_FLIGHT})


class UnderWay:
    """A run by several processes, from outside."""

    def __init__(
        self,
        run: PendingRun,
        simulator: Simulator,
        look_up: LookUpCredentials | None = None,
        limit_seconds: float = 60,
    ) -> None:
        self.run, self.simulator = run, simulator
        self.interruption = Interruption()
        how = Alone(Asking("promptmill run"), self.interruption, look_up=look_up)
        self.task = asyncio.create_task(self.interruption.allowing(run_alone(run, how)))
        self._limit_seconds = limit_seconds

    @property
    def sent(self) -> int:
        """Requests that the provider billed."""
        totals: Any = self.simulator.ledger()["totals"]
        return int(totals.get("requests", 0))

    def children(self) -> list[int]:
        """The process ids that show on the storage that they work for the run."""
        claims = Claims(self.run.prepared.store.storage)
        found = [claims.read(name, 0) for name in claims.helpers()]
        return [claim.holder.pid for claim in found if claim is not None and claim.holder is not None]

    async def until(self, requests: int) -> None:
        """Wait until so many were sent and all children are at work."""
        async with asyncio.timeout(self._limit_seconds):
            while self.sent < requests or len(self.children()) < 2:
                assert not self.task.done(), self.task
                await asyncio.sleep(0.02)

    async def tell(self, action: Action, **values: object) -> list[int | None]:
        """Give an order; who heard it, None for the parent."""
        storage = self.run.prepared.store.storage
        given = await asyncio.to_thread(give_order, storage, action, "ann", values)
        heard = await asyncio.to_thread(wait_until_heard, storage, given)
        return sorted((one.shard for one in heard), key=str)

    async def end(self) -> Manifest | RunStopped:
        """What became of the run."""
        async with asyncio.timeout(self._limit_seconds):
            try:
                return (await self.task).manifest
            except RunStopped as error:
                return error


@asynccontextmanager
async def under_way(
    job: Job, credentials: Credentials, simulator: Simulator, look_up: LookUpCredentials | None = None
) -> AsyncGenerator[UnderWay]:
    """A run whose children are at work; none is left after the block."""
    running = UnderWay(plan(job, credentials), simulator, look_up)
    try:
        await running.until(20)
        yield running
    finally:
        running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)


def published(job: Job) -> Any:
    """The published rows, without what differs between any two runs."""
    frame = promptmill.read(job.output.url)
    changing = [
        name
        for name in frame.columns
        if name in {"llm_seconds", "llm_finished_at", "llm_attempts", "llm_latency_seconds"}
    ]
    return frame.drop(columns=changing).to_dict("records")


async def test_a_child_killed_at_random_costs_what_it_had_not_saved_and_the_output_is_that_of_one_process(
    job: Job, credentials: Credentials, simulator: Simulator, tmp_path: Path
) -> None:
    chance = random.Random()
    async with under_way(job, credentials, simulator) as running:
        await running.until(chance.randrange(20, ROWS - 60))
        killed = chance.choice(running.children())
        os.kill(killed, signal.SIGKILL)
        manifest = await running.end()
        lost = running.sent - ROWS

    assert isinstance(manifest, Manifest), manifest
    assert_whole(manifest, ROWS)
    assert 0 <= lost <= IN_FLIGHT // 2 + job.checkpoint_rows * job.chunks_in_flight
    assert "concurrency" in manifest.limited_by
    assert running.children() == []
    alone = job.model_copy(
        update={"processes": 1, "output": job.output.model_copy(update={"url": str(tmp_path / "alone")})}
    )
    await carry_out(alone, credentials)
    assert published(job) == published(alone)


async def test_a_budget_holds_over_all_children_those_that_died_too_and_is_used_to_its_end(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    simulator.configure(latency_seconds=0.1)
    whole = await carry_out(make_job(ROWS, output__url=str(make_job().output.url) + "-whole"), credentials)
    cap = whole.cost_usd * Decimal("0.6")
    simulator.reset()
    job = make_job(ROWS, processes=2, budget_usd=str(cap), limits={"max_concurrency": IN_FLIGHT})
    async with under_way(job, credentials, simulator) as running:
        os.kill(running.children()[0], signal.SIGKILL)
        error = await running.end()
        billed = Decimal(str(simulator.ledger()["totals"]["requests"])) / ROWS * whole.cost_usd

    assert isinstance(error, BudgetExhausted)
    store = running.run.prepared.store
    assert SpendRecords(store).spent_at_most(store.listing()) <= cap
    assert billed <= cap * Decimal("1.02")  # rows differ by a token or two
    assert isinstance(error.manifest, Manifest)
    assert ROWS * 0.3 < error.manifest.rows < ROWS


async def test_orders_reach_all_children_and_an_interrupted_run_keeps_what_arrives(
    job: Job, credentials: Credentials, simulator: Simulator
) -> None:
    simulator.configure(latency_seconds=0.5)  # its children look for orders every four seconds
    job = job.model_copy(update={"budget_usd": Decimal(5)})
    async with under_way(job, credentials, simulator) as running:
        assert await running.tell("pause") == [0, 1, None]
        await asyncio.sleep(0.5)
        before = running.sent
        await asyncio.sleep(0.5)
        assert running.sent == before < ROWS
        assert await running.tell("set", budget_usd="4") == [0, 1, None]
        assert await running.tell("resume") == [0, 1, None]
        await running.until(before + 10)  # the new budget was shared out
        began = asyncio.get_running_loop().time()
        running.interruption.end()
        error = await running.end()
        took = asyncio.get_running_loop().time() - began

    assert isinstance(error, Interrupted)
    assert took < 10
    assert isinstance(error.manifest, Manifest)
    assert [told.what for told in error.manifest.steering] == ["pause", "set budget_usd=4", "resume"]
    assert error.manifest.requests_sent == running.sent
    simulator.configure(latency_seconds=0.0)
    finished = await carry_out(job, credentials)
    assert_whole(finished, ROWS)
    assert running.sent == ROWS
    assert running.children() == []


async def test_a_stop_ends_the_run_and_children_that_die_again_and_again_end_it_too(
    job: Job, credentials: Credentials, simulator: Simulator
) -> None:
    async with under_way(job, credentials, simulator) as running:
        await running.tell("stop")
        stopped = await running.end()
    async with under_way(job, credentials, simulator) as running:
        killing = asyncio.create_task(_kill_all(running))
        died = await running.end()
        killing.cancel()

    assert isinstance(stopped, StoppedByOrder)
    assert isinstance(died, RunStopped)
    assert "died 3 times (killed by SIGKILL)" in str(died)


async def _kill_all(running: UnderWay) -> None:
    while True:
        for child in running.children():
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        await asyncio.sleep(0.05)


async def test_a_key_that_is_refused_in_the_middle_is_looked_up_by_the_run_for_its_children(
    job: Job, credentials: Credentials, simulator: Simulator
) -> None:
    async def look_up() -> Credentials:
        return replace(credentials, api_key="new")

    async with under_way(job, credentials, simulator, look_up) as running:
        simulator.configure(api_key="new")
        manifest = await running.end()

    assert isinstance(manifest, Manifest), manifest
    assert_whole(manifest, ROWS)
    assert manifest.failed == 0


async def test_all_children_together_keep_to_the_limit(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    simulator.configure(requests_per_minute=1200)
    job = make_job(ROWS // 2, processes=2, limits={"max_concurrency": 64})  # the limit is learned, by each of them
    async with under_way(job, credentials, simulator) as running:
        manifest = await running.end()

    assert isinstance(manifest, Manifest), manifest
    assert_whole(manifest, ROWS // 2)
    assert manifest.attempts == manifest.requests_sent  # none was refused


@pytest.fixture(autouse=True)
def looking_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent looks for orders as often as in other tests; its children look every four seconds."""
    monkeypatch.setattr("promptmill.sharding.steering.LOOK_SECONDS", 0.5)


async def test_a_machine_without_room_for_a_process_ends_the_run_with_what_to_do(
    job: Job, credentials: Credentials, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_room(*command: object, **options: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", no_room)

    ended = await UnderWay(plan(job, credentials), simulator).end()

    assert isinstance(ended, RunStopped)
    assert "set fewer processes" in str(ended)
    assert isinstance(ended.manifest, Manifest)
