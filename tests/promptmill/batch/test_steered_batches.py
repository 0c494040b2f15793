"""A run by batches is told to pause, to go on, to spend less and to stop."""

import asyncio

import pytest

from promptmill.batch.session import open_batches
from promptmill.batch.steering import hear_orders
from promptmill.checkpoints.output_turn import Asking
from promptmill.errors import BudgetExhausted, StoppedByOrder
from promptmill.job.spec import Job
from promptmill.provider.transport import Credentials
from promptmill.runs.run import FinishedRun
from promptmill.simulator import Simulator
from promptmill.standalone.answering import Alone
from promptmill.standalone.running import run_alone
from promptmill.steering import listening
from promptmill.steering.giving import give_order, wait_until_heard
from promptmill.steering.orders import Action
from promptmill.storage import Storage
from tests.support.billing import assert_whole, paid_twice
from tests.support.jobs import MakeJob, plan

ROWS = 40


@pytest.fixture
def waves(make_job: MakeJob, simulator: Simulator, credentials: Credentials, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A job of which a quarter fits into the provider's queue at a time."""
    monkeypatch.setattr(listening, "LOOK_SECONDS", 0.2)
    simulator.configure(batch_seconds=1.0)
    tokens = plan(make_job(ROWS), credentials).preflight.plan.input_tokens
    return make_job(
        ROWS, batch={"poll_seconds": 0.2, "enqueued_tokens": tokens // 4 + 10, "canary_rows": 0}, budget_usd="5"
    )


def begin(job: Job, credentials: Credentials) -> "asyncio.Task[FinishedRun]":
    return asyncio.create_task(run_alone(plan(job, credentials, mode="batch"), Alone(Asking("a test"))))


async def tell(job: Job, action: Action, **values: object) -> int:
    """How many processes heard an order."""
    checkpoints = Storage(job.output.url).folder("_checkpoints")
    given = await asyncio.to_thread(give_order, checkpoints, action, "ann", values)
    return len(await asyncio.to_thread(wait_until_heard, checkpoints, given))


def submitted(job: Job) -> int:
    """Batches in the job's ledger."""
    names = Storage(job.output.url).folder("_checkpoints").sizes("batches")
    return sum(name.endswith(".json") and "state" not in name for name in names)


async def until_submitted(job: Job, count: int) -> None:
    async with asyncio.timeout(30):
        while submitted(job) < count:
            await asyncio.sleep(0.05)


async def test_a_paused_run_submits_no_batch_until_it_goes_on(
    waves: Job, credentials: Credentials, simulator: Simulator
) -> None:
    running = begin(waves, credentials)
    await until_submitted(waves, 1)
    assert await tell(waves, "pause") == 1
    before = submitted(waves)
    await asyncio.sleep(2.5)  # the batch under way ends
    assert submitted(waves) == before < 4
    assert not running.done()

    assert await tell(waves, "resume") == 1
    manifest = (await running).manifest

    assert_whole(manifest, ROWS)
    assert [told.what for told in manifest.steering] == ["pause", "resume"]
    assert paid_twice(simulator) == 0


async def test_a_stopped_run_leaves_its_batches_and_the_next_one_takes_them_up(
    waves: Job, credentials: Credentials, simulator: Simulator
) -> None:
    running = begin(waves, credentials)
    await until_submitted(waves, 1)
    assert await tell(waves, "stop") == 1
    with pytest.raises(StoppedByOrder, match="stopped by ann"):
        await running
    work = await asyncio.to_thread(open_batches, waves, credentials, lambda: plan(waves, credentials, mode="batch"))
    heard_by_a_step = await asyncio.to_thread(hear_orders, work)
    manifest = (await begin(waves, credentials)).manifest

    assert isinstance(heard_by_a_step, StoppedByOrder)
    assert_whole(manifest, ROWS)
    assert manifest.steering == ()
    assert paid_twice(simulator) == 0


async def test_a_lowered_budget_holds_for_the_next_batches(waves: Job, credentials: Credentials) -> None:
    running = begin(waves, credentials)
    await until_submitted(waves, 1)
    assert await tell(waves, "set", budget_usd="0.000001") == 1

    with pytest.raises(BudgetExhausted):
        await running
    assert submitted(waves) < 4
