"""An input that isn't what it was when the run was planned: the run ends early, since rows may have been paid for."""

from collections.abc import Callable
from pathlib import Path

import pytest

from promptmill.errors import InputChanged
from promptmill.job.spec import Job
from promptmill.output.manifest import Manifest
from promptmill.provider.transport import Credentials
from promptmill.runs.chunk import complete_chunk
from promptmill.runs.chunk_loop import drive_chunks
from promptmill.runs.engine import Engine
from promptmill.runs.run import PendingRun, answering, publish_run
from promptmill.simulator import Simulator
from tests.support.jobs import MakeJob, carry_out, plan
from tests.support.rows import write_rows


def grown(job: Job) -> None:
    """It has a row more."""
    write_rows(Path(job.input.urls[0]), [f"text number {number}" for number in range(41)])


def rewritten(job: Job) -> None:
    """It has other rows."""
    write_rows(Path(job.input.urls[0]), [f"another text {number}" for number in range(40)])


def gone(job: Job) -> None:
    """It is there no more."""
    Path(job.input.urls[0]).unlink()


async def _reuse(*_: object) -> None:
    """Nothing is told of it."""


async def answer(run: PendingRun) -> Engine:
    """Answer all rows, and publish none."""
    async with answering(run) as engine:
        await drive_chunks(engine, _reuse, complete_chunk)
    return engine


@pytest.mark.parametrize("change", [rewritten, gone])
async def test_a_run_whose_input_changes_under_it_ends_early_and_sends_none_of_the_new_rows(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, change: Callable[[Job], None]
):
    run = plan(make_job(40), credentials)
    change(run.prepared.job)

    with pytest.raises(InputChanged) as caught:
        await answer(run)

    assert caught.value.exit_code == 1
    manifest = caught.value.manifest
    assert isinstance(manifest, Manifest)
    assert (manifest.state, manifest.requests_sent) == ("failed", 0)
    assert simulator.ledger()["counters"]["attempts"] == 0


@pytest.mark.parametrize("change", [grown, rewritten, gone])
async def test_an_output_whose_input_has_changed_is_not_published_and_its_run_has_failed(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, change: Callable[[Job], None]
):
    job = make_job(40)
    run = plan(job, credentials)
    engine = await answer(run)
    change(job)

    with pytest.raises(InputChanged) as caught:
        await publish_run(run, engine)

    manifest = caught.value.manifest
    assert isinstance(manifest, Manifest)
    assert (manifest.state, manifest.succeeded, manifest.requests_sent) == ("failed", 40, 40)
    assert not list(Path(job.output.url).glob("*.parquet"))
    write_rows(Path(job.input.urls[0]), [f"text number {number}" for number in range(40)])
    assert (await carry_out(job, credentials)).requests_sent == 0
    assert simulator.ledger()["totals"]["requests"] == 40
