"""Orders to a run in shards: every shard obeys, and together they keep to a changed budget."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from promptmill.checkpoints.output_turn import Asking, Turn, releasing, take_turn_at
from promptmill.checkpoints.shard_lease import ShardLease
from promptmill.checkpoints.spend import SpendRecords
from promptmill.errors import BudgetExhausted, RunStopped, StoppedByOrder, StorageFailed
from promptmill.job.spec import Job
from promptmill.planning.plan import Chunk
from promptmill.provider.transport import Credentials
from promptmill.runs.chunk import complete_chunk
from promptmill.runs.chunk_loop import drive_chunks
from promptmill.runs.engine import Engine
from promptmill.runs.holding import holding
from promptmill.runs.run import PendingRun, answering
from promptmill.runs.steered import listener_of
from promptmill.sharding.folder import ShardFolder
from promptmill.sharding.plan import ShardPlan
from promptmill.sharding.split import open_share, split_run
from promptmill.sharding.steering import share_out, shares_of
from promptmill.simulator import Simulator
from promptmill.steering import listening
from promptmill.steering.giving import give_order, wait_until_heard
from promptmill.steering.orders import Action, Steering
from tests.support.jobs import MakeJob, plan

ROWS, SHARDS = 400, 2


@dataclass(slots=True)
class Split:
    """A run in two shards, as if two processes carried them."""

    run: PendingRun
    folder: ShardFolder
    plan: ShardPlan
    credentials: Credentials
    ended: list[RunStopped | None] = field(default_factory=list[RunStopped | None])

    async def carry_shards(self) -> None:
        """Both shards until they end; the run that split them follows them meanwhile."""
        following = asyncio.create_task(self._follow())
        self.ended = await asyncio.gather(*(self._carry(shard) for shard in range(SHARDS)))
        following.cancel()

    async def _carry(self, shard: int) -> RunStopped | None:
        run = await asyncio.to_thread(open_share, self.folder, self.plan, shard, self.credentials, ())
        lease = ShardLease(self.folder.storage, Asking(f"shard {shard}", run_id=self.folder.run_id).holder())
        try:
            async with releasing(Turn(await asyncio.to_thread(lease.begin), has_waited=False)):
                async with answering(replace(run, lease=lease)) as engine:
                    await drive_chunks(engine, _reuse, complete_chunk)
        except RunStopped as error:
            return error
        return None

    async def _follow(self) -> None:
        listener = listener_of(self.run)
        assert listener is not None
        while True:
            with suppress(StorageFailed):
                await listener.look(_hear)
                await asyncio.to_thread(share_out, self.run, listener, self.folder, self.plan, ())
            await asyncio.sleep(0.2)

    async def tell(self, action: Action, **values: object) -> list[int | None]:
        """Give an order; the shards that heard it, None for the run that split them."""
        storage = self.run.prepared.store.storage
        given = await asyncio.to_thread(give_order, storage, action, "ann", values)
        heard = await asyncio.to_thread(wait_until_heard, storage, given)
        return sorted((one.shard for one in heard), key=str)

    def spent(self) -> Decimal:
        """What all kept answers cost."""
        store = self.run.prepared.store
        return SpendRecords(store).cost_of_answers(store.listing())


async def _reuse(engine: Engine, chunk: Chunk, answers: pa.Table) -> None:
    del engine, chunk, answers


async def _hear(steering: Steering) -> None:
    del steering


def requests(simulator: Simulator) -> int:
    totals: Any = simulator.ledger()["totals"]
    return int(totals.get("requests", 0))


def planned(job: Job, credentials: Credentials) -> PendingRun:
    """The run of a job that is to be split."""
    return replace(plan(job, credentials), flow_run_ids=("a",))


@asynccontextmanager
async def under_way(
    run: PendingRun, credentials: Credentials, simulator: Simulator
) -> AsyncGenerator[tuple[Split, asyncio.Task[None]]]:
    """A run in shards that have begun to ask, and the task that ends with them."""
    simulator.configure(latency_seconds=0.1)
    turn = await take_turn_at(run.prepared.store.storage, Asking("the run that split", run_id="a"))
    async with holding(run, turn, "the run that split") as held:
        assert isinstance(held, PendingRun)
        shards, folder = split_run(held), ShardFolder(held.prepared.store, "a-0001")
        assert shards is not None
        folder.write_plan(shards)
        split = Split(held, folder, shards, credentials)
        carrying = asyncio.create_task(split.carry_shards())
        while requests(simulator) < 20:
            await asyncio.sleep(0.05)
        yield split, carrying


async def test_both_shards_pause_and_share_a_lowered_budget_that_they_never_pass(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "LOOK_SECONDS", 0.2)
    run = planned(make_job(ROWS, shards=SHARDS, budget_usd="5", limits={"max_concurrency": 4}), credentials)
    async with under_way(run, credentials, simulator) as (split, carrying):
        assert await split.tell("pause") == [0, 1, None]
        await asyncio.sleep(0.5)
        before = requests(simulator)
        await asyncio.sleep(1.0)
        assert requests(simulator) == before < ROWS

        lowered = split.spent() * 3
        assert await split.tell("set", budget_usd=str(lowered)) == [0, 1, None]
        assert await split.tell("resume") == [0, 1, None]
        async with asyncio.timeout(60):
            await carrying

    assert [type(error) for error in split.ended] == [BudgetExhausted, BudgetExhausted]
    assert before < requests(simulator) < ROWS  # what was left of the new budget was shared out
    assert SpendRecords(run.prepared.store).recorded(run.prepared.store.listing()) <= lowered
    assert split.spent() <= lowered


async def test_both_shards_end_when_their_run_is_stopped(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "LOOK_SECONDS", 0.2)
    run = planned(make_job(ROWS, shards=SHARDS, limits={"max_concurrency": 4}), credentials)
    async with under_way(run, credentials, simulator) as (split, carrying):
        await split.tell("stop")
        async with asyncio.timeout(15):
            await carrying

    assert [type(error) for error in split.ended] == [StoppedByOrder, StoppedByOrder]
    assert requests(simulator) < ROWS


def test_shards_share_the_rest_of_a_budget_by_their_remaining_work() -> None:
    granted = {"spend-0": Decimal(1), "spend-1": Decimal(2), "spend-2": Decimal(3)}

    assert shares_of(Decimal(4), granted, [3, 0, 1]) == {
        "spend-0": "4.000000",
        "spend-1": "2.000000",
        "spend-2": "4.000000",
    }
    assert shares_of(Decimal(-4), granted, [1, 1, 1]) == {
        "spend-0": "1.000000",
        "spend-1": "2.000000",
        "spend-2": "3.000000",
    }
