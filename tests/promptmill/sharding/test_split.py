"""Splitting a run: ranges, money, limits, what follows from a shard's end, and spending that is counted once."""

import asyncio
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.checkpoints.spend import SpendRecords
from promptmill.checkpoints.store import Store
from promptmill.errors import (
    BudgetExhausted,
    DatasetError,
    Interrupted,
    ProviderRefused,
    RunStopped,
    StorageFailed,
)
from promptmill.planning.kept import Again
from promptmill.provider.transport import Credentials
from promptmill.runs.run import answering
from promptmill.sharding.folder import ShardFolder, folders
from promptmill.sharding.plan import Outcome, ShardDied, ShardPlan, share_job, split_evenly, split_money, verdict
from promptmill.sharding.split import open_share, split_run
from promptmill.stop import Stop
from promptmill.storage import Storage
from tasks.run.sigterm import Terminated
from tasks.sharding import shard
from tests.support.jobs import MakeJob, plan
from tests.support.rows import write_rows
from tests.support.unreliable import Unreliable


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.integers(1, 12))
def test_shards_cover_every_chunk_and_each_has_work(weights: list[int], count: int):
    ranges = split_evenly(weights, count)
    sums = [sum(weights[first:stop]) for first, stop in ranges]

    assert [index for first, stop in ranges for index in range(first, stop)] == list(range(len(weights)))
    assert len(ranges) == max(1, min(count, sum(weight > 0 for weight in weights)))
    assert all(sums) or len(ranges) == 1
    assert max(sums) <= sum(weights) / len(ranges) + 2 * max(weights)


@pytest.mark.parametrize(
    ("weights", "count", "expected"),
    [
        pytest.param([1] * 6, 3, [(0, 2), (2, 4), (4, 6)], id="even"),
        pytest.param([0, 0, 1, 1], 2, [(0, 3), (3, 4)], id="answered-at-the-start"),
        pytest.param([1, 0, 0, 0], 4, [(0, 4)], id="one-left"),
        pytest.param([0, 0], 3, [(0, 2)], id="nothing-left"),
    ],
)
def test_shards_are_of_about_equal_weight(weights: list[int], count: int, expected: list[tuple[int, int]]):
    assert split_evenly(weights, count) == expected


@given(st.decimals("0", "1000", places=6), st.lists(st.integers(1, 10**9), min_size=1, max_size=20))
def test_the_shards_budgets_never_add_up_to_more_than_the_runs(amount: Decimal, weights: list[int]):
    parts = split_money(amount, weights)

    assert sum(parts) <= amount
    assert amount - sum(parts) <= Decimal("0.000001") * len(parts)


def test_a_shard_has_its_part_of_the_requests_in_flight_and_the_whole_limits_a_minute(
    make_job: MakeJob, tmp_path: Path
):
    job = make_job(5, limits={"requests_per_minute": 100, "tokens_per_minute": 1_001, "max_concurrency": 10})
    narrow = make_job(5, limits={"max_concurrency": 2})
    share = a_share(tmp_path, make_job)

    assert share_job(job, share).limits.model_dump() == {
        "requests_per_minute": 100,
        "tokens_per_minute": 1_001,
        "input_tokens_per_minute": None,
        "output_tokens_per_minute": None,
        "max_concurrency": 3,
        "shared": None,
    }
    assert share_job(narrow, share).limits.max_concurrency == 1


async def test_a_shard_keeps_to_its_part_of_the_limits_and_sends_a_request_that_the_whole_allows(
    make_job: MakeJob, credentials: Credentials
):
    run = plan(make_job(40, shards=2, limits={"tokens_per_minute": 1_000_000}), credentials)
    found = split_run(run)
    assert found is not None
    folder = ShardFolder(run.prepared.store, "run")
    async with answering(open_share(folder, found, 0, credentials, ("id",))) as engine:
        limiter = engine.client.limiter
        part = limiter.tokens_per_minute
        sent = await limiter.reserve(700_000)

    assert part == 500_000
    assert sent.tokens.total == 700_000


def a_share(folder: Path, make_job: MakeJob) -> Any:
    """The first of three."""
    plan = ShardPlan(make_job(5), "", [], {}, [(0, 1), (1, 2), (2, 3)], [None] * 3, None)
    return ShardFolder(Store(Storage(str(folder))), "run").share(plan, 0)


@pytest.mark.parametrize(
    ("ended", "outcome", "attempt", "expected"),
    [
        pytest.param("completed", None, 1, "done", id="completed"),
        pytest.param("failed", Outcome(None, BudgetExhausted("spent")), 1, "done", id="part-of-the-budget-spent"),
        pytest.param("crashed", None, 1, "again", id="killed"),
        pytest.param("failed", None, 2, "again", id="failed-without-a-word"),
        pytest.param("failed", Outcome(None, Interrupted()), 1, "again", id="its-machine-went-down-in-order"),
        pytest.param("crashed", None, 3, ShardDied, id="killed-too-often"),
        pytest.param("failed", Outcome(None, ProviderRefused("no quota")), 1, ProviderRefused, id="refused"),
        pytest.param("failed", Outcome(None, DatasetError("changed")), 1, RunStopped, id="others-may-have-sent"),
        pytest.param("cancelled", None, 1, Interrupted, id="cancelled-by-somebody"),
    ],
)
def test_a_shards_end_decides_what_the_run_does_next(ended: Any, outcome: Outcome | None, attempt: int, expected: Any):
    found = verdict(ended, outcome, attempt, "1 to 5")

    assert (type(found) if isinstance(found, Exception) else found) == expected


def test_spending_of_shards_counts_once_whichever_step_is_killed(tmp_path: Path):
    store = Store(Storage(str(tmp_path)))
    records = SpendRecords(store)
    records.write(Decimal(5))
    records.write(Decimal(2), "shards/a/spend-0.json")
    records.write(Decimal(3), "shards/a/spend-1.json")
    real, calls = store.storage.delete, []

    def dies(names: Any) -> None:
        calls.append(names)
        raise OSError("killed")

    store.storage.delete = dies  # type: ignore[method-assign]
    with pytest.raises(StorageFailed, match="killed"):
        records.settle(store.listing())
    store.storage.delete = real  # type: ignore[method-assign]

    assert calls
    assert records.settle(store.listing()) == 10
    assert records.settle(store.listing()) == 10
    assert not [name for name in store.listing().sizes if name.startswith("shards")]


def test_a_shard_takes_its_own_rows_and_reads_nothing_of_the_others(
    make_job: MakeJob, credentials: Credentials, tmp_path: Path
):
    job = make_job(40, shards=2, budget_usd="1")
    run = plan(job, credentials)
    found = split_run(run)
    assert found is not None
    folder = ShardFolder(run.prepared.store, "run")
    folder.write_plan(found)
    again = ShardFolder.at(folder.plan_url).read_plan()
    assert again is not None
    share = open_share(folder, again, 1, credentials, ("id",))

    assert again == found
    assert found.bounds == [(0, 2), (2, 4)]
    assert found.budgets_usd == [Decimal("0.500000")] * 2
    assert found.label(1) == "21 to 40"
    assert share.share is not None
    assert share.prepared.job.budget_usd == Decimal("0.5")
    assert share.preflight.plan.keys == run.preflight.plan.keys
    assert [one.name for one in folders(run.prepared.store)] == ["run"]


def test_a_shard_of_a_changed_input_is_refused(make_job: MakeJob, credentials: Credentials, tmp_path: Path):
    run = plan(make_job(40, shards=2), credentials)
    found = split_run(run)
    assert found is not None
    write_rows(tmp_path / "rows.parquet", ["another"] * 40)

    with pytest.raises(DatasetError, match="isn't what was planned"):
        open_share(ShardFolder(run.prepared.store, "run"), found, 0, credentials, ("id",))


def test_a_run_does_not_go_on_with_a_plan_of_other_work(make_job: MakeJob, credentials: Credentials):
    run = plan(make_job(40, shards=2), credentials)
    found = split_run(run)
    assert found is not None
    other = plan(make_job(40, shards=2, budget_usd="2"), credentials)

    assert found.is_of(run.prepared.job, run.preflight.plan, Again(1.0, is_all=False))  # when it began doesn't matter
    assert not found.is_of(run.prepared.job, run.preflight.plan, Again(1.0, is_all=True))
    assert not found.is_of(run.prepared.job, run.preflight.plan, None)
    assert not found.is_of(other.prepared.job, run.preflight.plan, run.again)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(Terminated(), Interrupted, id="a-kin-of-ours"),
        pytest.param(ProviderRefused("no quota"), ProviderRefused, id="ours"),
        pytest.param(None, type(None), id="ended-well"),
    ],
)
def test_a_run_reads_the_outcome_that_a_shard_wrote(error: Any, expected: type, tmp_path: Path):
    folder = ShardFolder(Store(Storage(str(tmp_path))), "run")
    folder.write_outcome(3, 2, Outcome(None, error))
    found = folder.read_outcome(3, 2)

    assert found is not None
    assert type(found.error) is expected
    assert str(found.error) == str(error)
    assert folder.read_outcome(3, 1) is None


async def test_an_attempt_that_begins_after_it_was_given_up_sends_nothing(tmp_path: Path):
    folder = ShardFolder(Store(Storage(str(tmp_path))), "run")
    folder.begin_attempt(1, 2)

    with pytest.raises(RunStopped, match="attempt 2 has the shard"):
        await shard.answer_share_task.fn(folder.plan_url, 1, 1)
    assert folder.read_outcome(1, 1) is None


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"manifest": {"rows": "many"}, "error": null, "message": null}'])
def test_a_torn_or_foreign_outcome_counts_as_none(data: bytes, tmp_path: Path):
    folder = ShardFolder(Store(Storage(str(tmp_path))), "run")
    folder.storage.write("shards/run/outcome-1-1.json", data)

    assert folder.read_outcome(1, 1) is None


def test_a_foreign_plan_counts_as_none(tmp_path: Path):
    folder = ShardFolder(Store(Storage(str(tmp_path))), "run")
    folder.storage.write("shards/run/plan.json", b'{"job": {"name": "x"}, "chunks": "gone"}')

    assert folder.read_plan() is None


async def ended_of(engine: Any) -> None:
    """Once it was stopped."""
    for _ in range(500):
        if engine.stop.reason is not None:
            return
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("failures", [pytest.param(0, id="read"), pytest.param(3, id="unreadable-at-first")])
@pytest.mark.parametrize("how", ["it ends", "it falls silent"])
async def test_a_watched_shard_ends_when_its_run_does(
    how: str, failures: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shard, "PULSE_SECONDS", 0.02)
    monkeypatch.setattr(shard, "_SILENCE_SECONDS", 2.0)
    storage = Unreliable(str(tmp_path))
    folder, engine = ShardFolder(Store(storage), "run"), SimpleNamespace(stop=Stop())
    folder.beat(0)
    storage.failures = failures
    async with shard.watching_run(folder, engine):  # type: ignore[arg-type]
        for number in range(1, 20):
            folder.beat(number)
            await asyncio.sleep(0.02)
        alive = engine.stop.reason
        if how == "it ends":
            folder.stop_beating()
        await ended_of(engine)

    assert alive is None
    assert isinstance(engine.stop.reason, Interrupted)
