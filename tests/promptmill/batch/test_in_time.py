"""A run with a deadline: batches for as long as there is time, and online what they leave; nothing is paid for twice."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from promptmill.batch import within
from promptmill.batch.ledger import Ledger
from promptmill.checkpoints.deadline_record import read_deadline
from promptmill.checkpoints.output_turn import Asking
from promptmill.errors import JobError, OutputInUse
from promptmill.job.deadline import refuse_by_batches_alone
from promptmill.job.spec import Job
from promptmill.output.manifest import Manifest
from promptmill.provider.transport import Credentials
from promptmill.runs.run import Planning, plan_pending_run
from promptmill.runs.sample import draw_rows, sample_job_of
from promptmill.simulator import Simulator
from promptmill.standalone.answering import Alone
from promptmill.standalone.running import run_alone, sample_alone
from promptmill.storage import Storage
from tests.support.billing import assert_whole, billed, counter, paid_twice
from tests.support.jobs import MakeJob, plan
from tests.support.odd_batches import odd_batches, refusal, result

ROWS = 60


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Minutes that are kept free become seconds."""
    monkeypatch.setenv("PROMPTMILL_STATE_URL", str(tmp_path / "state"))
    monkeypatch.setattr(within, "CANCEL_SECONDS", 1.5)
    monkeypatch.setattr(within, "START_SECONDS", 1.0)
    monkeypatch.setattr(within, "LEAST_BATCH_SECONDS", 1.0)


def run(job: Job, credentials: Credentials, told: list[str] | None = None) -> Manifest:
    said = [] if told is None else told
    how = Alone(Asking("a test", tell=said.append))
    return asyncio.run(run_alone(plan(job, credentials), how)).manifest


def timed(make_job: MakeJob, deadline: str, **values: object) -> Job:
    return make_job(ROWS, deadline=deadline, batch={"poll_seconds": 0.2, "canary_rows": 0}, **values)


def changes(manifest: Manifest) -> list[str]:
    assert manifest.deadline is not None
    return [change.what for change in manifest.deadline.changes]


def files(job: Job) -> list[str]:
    return list(Storage(job.output.url).folder("_checkpoints").sizes(""))


def test_batches_answer_all_but_the_first_rows_where_they_are_in_time(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    simulator.configure(batch_seconds=0.5)
    told: list[str] = []
    job = timed(make_job, "1h")

    manifest = run(job, credentials, told)

    assert_whole(manifest, ROWS)
    assert (billed(simulator, "batch"), billed(simulator, "default")) == (ROWS - 4, 4)
    assert paid_twice(simulator) == 0
    assert manifest.requests_sent == ROWS and manifest.reused == 0
    assert manifest.deadline is not None and manifest.deadline.is_kept
    assert len(told) == len(changes(manifest)) == 1
    assert "56 rows go into batches" in told[0]
    assert not any("deadline" in name for name in files(job))


def test_the_rest_goes_online_in_time_where_the_batch_is_slow(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    simulator.configure(batch_seconds=15.0)

    manifest = run(timed(make_job, "10s"), credentials)

    assert_whole(manifest, ROWS)
    by_batch, online = billed(simulator, "batch"), billed(simulator, "default")
    assert (by_batch > 0, online > 4, by_batch + online) == (True, True, ROWS)
    assert paid_twice(simulator) == 0
    assert manifest.deadline is not None and manifest.deadline.is_kept
    assert "1 batch is cancelled" in changes(manifest)[1]
    assert counter(simulator, "batches_cancelled") == 1


async def submitted(job: Job) -> None:
    folder = Storage(job.output.url).folder("_checkpoints")
    async with asyncio.timeout(30):
        while not any(name.endswith(".ids") for name in folder.sizes("batches")):
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)  # until the batch is created


def test_a_run_that_was_killed_goes_on_with_the_deadline_of_its_first_start(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    simulator.configure(batch_seconds=3.0)
    job = timed(make_job, "1h")

    asyncio.run(_begin_and_die(job, credentials))
    first = read_deadline(Storage(job.output.url).folder("_checkpoints"))
    manifest = run(job, credentials)

    assert_whole(manifest, ROWS)
    assert first is not None and manifest.deadline is not None
    assert manifest.deadline.at == first.at
    assert (billed(simulator, "batch"), billed(simulator, "default")) == (ROWS - 4, 4)
    assert paid_twice(simulator) == 0


def test_all_rows_are_asked_online_at_once_where_there_is_no_time_for_batches(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    told: list[str] = []

    manifest = run(timed(make_job, "3s"), credentials, told)

    assert_whole(manifest, ROWS)
    assert billed(simulator, "default") == ROWS
    assert "asked online at once, since there is no time for batches" in told[0]
    assert manifest.requests_sent == ROWS and manifest.reused == 0


def test_a_job_that_prefers_flex_is_asked_at_the_standard_tier_once_time_is_short(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    told: list[str] = []

    manifest = run(timed(make_job, "4s", request__tier={"prefer": "flex"}), credentials, told)  # a try may take 5 s

    assert_whole(manifest, ROWS)
    assert (billed(simulator, "flex"), billed(simulator, "default")) == (4, ROWS - 4)
    assert "since batches cost no less" in told[0]


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        pytest.param(
            {"on_create": lambda body: refusal(403, "no batches for you")}, "no batches for you", id="no-batches"
        ),
        pytest.param(
            {"on_line": lambda line, nth: result(line, {"error": {"message": "no such deployment"}}, 400)},
            "no such deployment",
            id="every-line-is-refused",
        ),
    ],
)
def test_a_run_asks_online_if_batches_refuse_its_rows(odd: dict[str, Any], why: str, make_job: MakeJob) -> None:
    with odd_batches() as provider:
        for name, act in odd.items():
            setattr(provider, name, act)
        manifest = run(timed(make_job, "1h"), provider.credentials)

    assert_whole(manifest, ROWS)
    assert set(provider.online.values()) == {1} and len(provider.online) == ROWS
    assert not +provider.paid
    assert why in changes(manifest)[1]


def test_a_run_by_batches_alone_refuses_a_deadline(make_job: MakeJob) -> None:
    with pytest.raises(JobError, match="takes as long as the provider likes"):
        refuse_by_batches_alone(timed(make_job, "6h").deadline, "batch")


@pytest.mark.parametrize(("split", "parts"), [("shards", 2), ("processes", 2), ("processes", "auto")])
def test_a_deadline_and_parts_exclude_each_other(make_job: MakeJob, split: str, parts: int | str) -> None:
    with pytest.raises(ValueError, match=f"deadline and {split} exclude each other"):
        timed(make_job, "6h", **{split: parts})


def test_rows_that_a_sample_has_asked_dont_pass_for_rows_that_tell_the_pace(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    simulator.configure(batch_seconds=0.5)
    job = timed(make_job, "1h")
    whole = plan(job, credentials)
    planning = Planning(whole.started_at.date(), dataset=draw_rows(whole, 6, 0))  # as `promptmill sample 6` draws them
    sample = plan_pending_run(sample_job_of(job, None), credentials, planning)
    asyncio.run(sample_alone(sample, Storage(f"{job.output.url}-sample"), Alone(Asking("a sample"))))

    manifest = run(job, credentials)

    assert_whole(manifest, ROWS)
    assert 6 < billed(simulator, "default") <= 10  # the sample's, and some of the four that are drawn next
    assert billed(simulator, "batch") == ROWS - billed(simulator, "default")
    assert paid_twice(simulator) == 0


async def _begin_and_die(job: Job, credentials: Credentials, mode: str = "online") -> None:
    run = plan(job, credentials, mode=mode)
    running = asyncio.create_task(run_alone(run, Alone(Asking("a test"))))
    await submitted(job)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_a_run_with_another_deadline_asks_no_row_of_a_live_batch(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    simulator.configure(batch_seconds=3.0)
    job = timed(make_job, "1h")
    asyncio.run(_begin_and_die(job, credentials))

    manifest = run(job.model_copy(update={"deadline": "2h"}), credentials)

    assert_whole(manifest, ROWS)
    assert paid_twice(simulator) == 0
    assert (billed(simulator, "batch"), billed(simulator, "default")) == (ROWS - 4, 4)


def test_a_run_with_a_deadline_refuses_rows_of_batches_that_were_submitted_without_one(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    simulator.configure(batch_seconds=3.0)
    job = timed(make_job, "1h")
    asyncio.run(_begin_and_die(job.model_copy(update={"deadline": None}), credentials, "batch"))

    with pytest.raises(OutputInUse, match="--mode batch"):
        run(job, credentials)

    assert billed(simulator, "default") == 0


def test_a_new_deadline_lets_batches_go_on_that_the_old_one_had_ended(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    simulator.configure(batch_seconds=3.0)
    job = timed(make_job, "1h")
    asyncio.run(_begin_and_die(job, credentials))
    ledger = Ledger(Storage(job.output.url).folder("_checkpoints")).load()
    ledger.save_state(replace(ledger.state, moved_at=time.time()))

    run(job.model_copy(update={"deadline": "2h"}), credentials)

    assert (billed(simulator, "batch"), billed(simulator, "default")) == (ROWS - 4, 4)


def test_a_new_deadline_counts_no_answer_that_was_there_before_it(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    simulator.configure(batch_seconds=20.0)
    job = timed(make_job, "1h")
    asyncio.run(_begin_and_die(job, credentials))
    ledger = Ledger(Storage(job.output.url).folder("_checkpoints")).load()
    (live,) = ledger.live
    for name in (name for name in ledger.storage.sizes("batches") if name.startswith(f"batches/{live.key}.")):
        ledger.storage.write(name.replace(live.key, "earlier-0"), ledger.storage.read(name))
    ledger.save(replace(live, key="earlier-0", state="collected", answered=10 * ROWS, file_id=""), time.time())

    manifest = run(job.model_copy(update={"deadline": "8s"}), credentials)

    assert manifest.deadline is not None and manifest.deadline.is_kept
    assert counter(simulator, "batches_cancelled") == 1
