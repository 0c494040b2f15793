"""Machines whose clocks are hours apart work on one output: what was asked before is told from what is asked now."""

import asyncio
from pathlib import Path

import pyarrow as pa
import pytest

from promptmill.batch.session import start_batches
from promptmill.checkpoints.store import Store
from promptmill.job.spec import Job
from promptmill.provider.transport import Credentials
from promptmill.runs.chunk import complete_chunk
from promptmill.runs.chunk_loop import drive_chunks
from promptmill.runs.elsewhere import Elsewhere
from promptmill.runs.run import answering
from promptmill.simulator import Simulator
from promptmill.storage import Storage
from tests.support.batching import carry_batches, finish, reuse, wait_for
from tests.support.jobs import MakeJob, carry_out, plan

HOUR = 3_600.0
TEXTS: list[str | None] = ["a", "POISON-TRUNCATE", "b", "c", "POISON-500"]
AHEAD = [
    pytest.param(-HOUR, id="behind"),
    pytest.param(HOUR, id="an-hour-ahead"),
    pytest.param(30_000 * HOUR, id="years-ahead"),
]


def as_answered_by_a_clock(ahead: float, job: Job) -> None:
    """Rewrite what is kept as a machine had written it whose clock is so far ahead."""
    store = Store(Storage(job.output.url).folder("_checkpoints"))
    for name in store.listing().sizes:
        if name.endswith(".parquet"):
            answers = store.load(name)
            at = answers.schema.get_field_index("answered_at")
            times = pa.array([time + ahead for time in answers["answered_at"].to_pylist()])
            store.save_chunk(name.removesuffix(".parquet"), answers.set_column(at, answers.schema.field(at), times), [])


def attempts(simulator: Simulator) -> int:
    """Requests that reached the provider."""
    return simulator.ledger()["counters"]["attempts"]


@pytest.mark.parametrize("ahead", AHEAD)
async def test_failed_rows_are_asked_again_each_time_whatever_clock_they_were_answered_by(
    ahead: float, make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    job = make_job(TEXTS, retry={"max_attempts": 1}, chunk_rows=2)
    await carry_out(job, credentials)
    as_answered_by_a_clock(ahead, job)
    sent = [attempts(simulator)]

    for _ in range(2):
        retried = await carry_out(job, credentials, retry_failed=True)
        sent.append(attempts(simulator) - sum(sent))
        assert (retried.failed, retried.requests_sent) == (2, 2)

    assert sent == [5, 2, 2]


@pytest.mark.parametrize("ahead", AHEAD[:2])
async def test_what_another_process_of_the_run_asked_again_is_not_asked_once_more(
    ahead: float, make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    """A shard and the run that split it."""
    job = make_job(TEXTS, retry={"max_attempts": 1}, chunk_rows=2)
    await carry_out(job, credentials)
    as_answered_by_a_clock(ahead, job)
    run = plan(job, credentials, retry_failed=True)
    async with answering(run) as shard:
        await drive_chunks(shard, reuse, complete_chunk)
    sent = attempts(simulator)
    async with answering(run, elsewhere=Elsewhere(again=run.again)) as parent:
        await drive_chunks(parent, reuse, complete_chunk)

    assert attempts(simulator) == sent == 7


@pytest.mark.parametrize("ahead", [pytest.param(0.0, id="right"), pytest.param(HOUR, id="an-hour-ahead")])
async def test_batches_ask_failed_rows_again_once_whatever_clock_they_were_answered_by(
    ahead: float, make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    simulator.configure(line_error_ratio=1.0, batch_seconds=0.05)
    job = make_job(8, max_failure_ratio=1.0, retry={"max_attempts": 1}, batch__poll_seconds=0.02, chunk_rows=4)
    first = await carry_batches(job, credentials)
    as_answered_by_a_clock(ahead, job)
    run = plan(job, credentials, mode="batch", retry_failed=True)
    work = await asyncio.to_thread(start_batches, run)
    await asyncio.to_thread(wait_for, work)
    by_another_step = plan(job, credentials, mode="batch", retry_failed=True)  # advance-batches makes a plan of its own
    retried = await finish(work, by_another_step)

    assert (first.failed, retried.failed, retried.requests_sent) == (8, 8, 8)
    assert simulator.ledger()["counters"]["batches_created"] == 2
    assert Path(job.output.url, "_manifest.json").exists()
