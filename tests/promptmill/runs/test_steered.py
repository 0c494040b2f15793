"""People tell a run that is under way what to do, and it does it, in one process or in two shards."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

import promptmill
from promptmill.checkpoints.output_turn import Asking
from promptmill.checkpoints.spend import SpendRecords
from promptmill.errors import BudgetExhausted, StoppedByOrder
from promptmill.job.spec import Job
from promptmill.provider.transport import Credentials
from promptmill.runs.engine import Engine
from promptmill.runs.run import FinishedRun
from promptmill.simulator import Simulator
from promptmill.standalone.answering import Alone
from promptmill.standalone.running import run_alone
from promptmill.steering import listening
from promptmill.steering.giving import Given, give_order, wait_until_heard
from promptmill.steering.orders import Action
from promptmill.storage import Storage
from tests.support.billing import assert_whole, paid_twice
from tests.support.jobs import MakeJob, plan


@dataclass(slots=True)
class Running:
    """A run under way, and its engine once it has one."""

    job: Job
    work: "asyncio.Task[FinishedRun]"
    engines: list[Engine] = field(default_factory=list[Engine])

    async def tell(self, action: Action, **values: object) -> Given:
        """Give an order, and wait until the run has heard it."""
        checkpoints = Storage(self.job.output.url).folder("_checkpoints")
        named = {name.replace("__", "."): value for name, value in values.items()}
        given = await asyncio.to_thread(give_order, checkpoints, action, "ann", named)
        assert len(await asyncio.to_thread(wait_until_heard, checkpoints, given)) == 1
        return given


Start = Callable[[Job], Running]


@pytest.fixture
def start(credentials: Credentials, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Starts a run without Prefect that looks for orders often."""
    monkeypatch.setattr(listening, "LOOK_SECONDS", 0.2)

    def begin(job: Job) -> Running:
        running = Running(job, None)  # pyright: ignore[reportArgumentType] - it is set below

        @asynccontextmanager
        async def remember(engine: Engine) -> AsyncGenerator[None]:
            running.engines.append(engine)
            yield

        how = Alone(Asking("a test"), showing=remember)
        running.work = asyncio.create_task(run_alone(plan(job, credentials), how))
        return running

    return begin


def requests(simulator: Simulator) -> int:
    return int(simulator.ledger()["totals"].get("requests", 0))  # pyright: ignore


async def until_sent(simulator: Simulator, count: int) -> None:
    async with asyncio.timeout(30):
        while requests(simulator) < count:
            await asyncio.sleep(0.05)


async def test_a_paused_run_sends_nothing_until_it_goes_on_and_answers_each_row_once(
    start: Start, make_job: MakeJob, simulator: Simulator
) -> None:
    simulator.configure(latency_seconds=0.1)
    running = start(make_job(120, limits={"max_concurrency": 3}, chunk_rows=40))
    await until_sent(simulator, 20)
    await running.tell("pause")
    await asyncio.sleep(0.5)  # what is on its way ends
    before = requests(simulator)
    await asyncio.sleep(1.0)
    engine = running.engines[0]

    assert requests(simulator) == before < 120
    assert engine.client.counters.in_flight == 0
    assert engine.client.limiter.waiting_reason is not None
    assert "by ann; `promptmill resume JOB` resumes it" in engine.client.limiter.waiting_reason.text
    assert len(promptmill.read(running.job.output.url, partial=True)) <= before

    await running.tell("set", limits__max_concurrency=10)
    await running.tell("resume")
    manifest = (await running.work).manifest

    assert_whole(manifest, 120)
    assert (requests(simulator), paid_twice(simulator)) == (120, 0)
    assert [(told.what, told.by) for told in manifest.steering] == [
        ("pause", "ann"), ("set limits.max_concurrency=10", "ann"), ("resume", "ann"),
    ]  # fmt: skip


async def test_the_number_of_requests_in_flight_follows_what_is_set(
    start: Start, make_job: MakeJob, simulator: Simulator
) -> None:
    simulator.configure(latency_seconds=0.2)
    running = start(make_job(240, limits={"max_concurrency": 20}, chunk_rows=60))
    await until_sent(simulator, 40)
    await running.tell("set", limits__max_concurrency=2)
    await asyncio.sleep(0.5)
    engine = running.engines[0]
    seen = []
    for _ in range(10):
        seen.append(engine.client.counters.in_flight)
        await asyncio.sleep(0.1)
    await running.tell("set", limits__max_concurrency="auto", limits__requests_per_minute=60_000)
    await running.work

    assert 0 < max(seen) <= 2
    assert engine.places.is_found
    assert engine.client.limiter.requests_per_minute == 60_000
    assert requests(simulator) == 240


async def test_a_stopped_run_keeps_its_answers_and_the_next_one_asks_for_the_rest(
    start: Start, make_job: MakeJob, simulator: Simulator
) -> None:
    simulator.configure(latency_seconds=0.1)
    job = make_job(100, limits={"max_concurrency": 5})
    running = start(job)
    await until_sent(simulator, 20)
    given = await running.tell("stop")
    with pytest.raises(StoppedByOrder, match="The run was stopped by ann, ") as stopped:
        await running.work
    so_far = promptmill.read(job.output.url, partial=True)
    manifest = (await start(job).work).manifest

    assert stopped.value.exit_code == 130
    assert given.order.action == "stop"
    assert 20 <= len(so_far) < 100
    assert_whole(manifest, 100)
    assert manifest.reused == len(so_far)
    assert (requests(simulator), paid_twice(simulator)) == (100, 0)
    assert manifest.steering == ()
    assert len(promptmill.read(job.output.url, partial=True)) == 100


async def test_a_run_without_a_budget_keeps_to_one_that_is_set_and_counts_what_earlier_runs_spent(
    start: Start, make_job: MakeJob, simulator: Simulator
) -> None:
    simulator.configure(latency_seconds=0.05)
    job = make_job(200, limits={"max_concurrency": 2}, checkpoint_rows=4)
    first = start(job)
    await until_sent(simulator, 30)
    await first.tell("stop")
    with suppress(StoppedByOrder):
        await first.work
    spent = SpendRecords(plan(job, Credentials("test")).prepared.store)
    store = plan(job, Credentials("test")).prepared.store
    cost = spent.cost_of_answers(store.listing())
    second = start(job)
    await until_sent(simulator, 60)
    await second.tell("set", budget_usd=str(cost * 3))
    with pytest.raises(BudgetExhausted):
        await second.work

    kept = spent.cost_of_answers(store.listing())
    assert cost < kept <= cost * 3
    assert spent.read() >= kept


async def test_a_run_at_its_budget_goes_on_when_it_was_raised_a_moment_ago(
    start: Start, make_job: MakeJob, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator.configure(latency_seconds=0.1)
    running = start(make_job(60, limits={"max_concurrency": 2}, budget_usd="0.0003"))
    monkeypatch.setattr(listening, "LOOK_SECONDS", 3_600.0)  # only the last look hears it
    await until_sent(simulator, 2)
    checkpoints = Storage(running.job.output.url).folder("_checkpoints")
    await asyncio.sleep(0.3)
    given = await asyncio.to_thread(give_order, checkpoints, "set", "ann", {"budget_usd": 5})
    manifest = (await running.work).manifest

    assert given.name is not None
    assert_whole(manifest, 60)
    assert manifest.budget_usd == 5
    assert manifest.job["budget_usd"] == "0.0003"
