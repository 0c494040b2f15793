"""A run with a deadline: batches for as long as there is time, and online what they leave; nothing is paid for twice."""

import asyncio

import pytest

from promptmill.batch import within
from promptmill.checkpoints.output_turn import Asking
from promptmill.job.spec import Job
from promptmill.output.manifest import Manifest
from promptmill.provider.transport import Credentials
from promptmill.simulator import Simulator
from promptmill.standalone.answering import Alone
from promptmill.standalone.running import run_alone
from promptmill.storage import Storage
from tests.support.billing import assert_whole, billed, counter, paid_twice
from tests.support.jobs import MakeJob, plan

ROWS = 60


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Minutes that are kept free become seconds."""
    monkeypatch.setattr(within, "CANCEL_SECONDS", 2.0)
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
    simulator.configure(batch_seconds=30.0)

    manifest = run(timed(make_job, "12s"), credentials)

    assert_whole(manifest, ROWS)
    by_batch, online = billed(simulator, "batch"), billed(simulator, "default")
    assert (by_batch > 0, online > 4, by_batch + online) == (True, True, ROWS)
    assert paid_twice(simulator) == 0
    assert manifest.deadline is not None and manifest.deadline.is_kept
    assert "1 batch is cancelled" in changes(manifest)[1]
    assert counter(simulator, "batches_cancelled") == 1
