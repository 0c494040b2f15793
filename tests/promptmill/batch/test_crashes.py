"""A batch run killed at each boundary and run again: one batch a file, no row lost, none paid twice."""

import multiprocessing
import signal
from pathlib import Path

import pytest

from promptmill.provider.transport import Credentials
from promptmill.simulator import Simulator
from tests.support.batching import carry_batches
from tests.support.billing import assert_whole, billed, counter, paid_twice
from tests.support.crashing import POINTS, run_until
from tests.support.jobs import MakeJob

ROWS = 60

_PROCESSES = multiprocessing.get_context("forkserver")  # each process begins with all that it imports
_PROCESSES.set_forkserver_preload(["tests.support.crashing"])


async def test_a_run_killed_at_every_boundary_loses_nothing_and_pays_for_nothing_twice(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, tmp_path: Path
):
    """One job is killed at every point in turn; the last run ends it."""
    simulator.configure(batch_seconds=0.3)
    job = make_job(ROWS, batch__poll_seconds=0.05, batch__max_requests=25)
    (tmp_path / "job.json").write_text(job.model_dump_json())
    for point in POINTS:
        assert _run_until(point, tmp_path / "job.json", simulator) == -signal.SIGKILL, point
    manifest = await carry_batches(job, credentials)

    assert_whole(manifest, ROWS)
    assert (billed(simulator), paid_twice(simulator)) == (ROWS, 0)
    assert counter(simulator, "batches_created") == 3


@pytest.mark.parametrize("point", POINTS)
async def test_a_run_killed_once_goes_on(
    point: str, make_job: MakeJob, credentials: Credentials, simulator: Simulator, tmp_path: Path
):
    simulator.configure(batch_seconds=0.3)
    job = make_job(ROWS, batch__poll_seconds=0.05, batch__max_requests=25)
    (tmp_path / "job.json").write_text(job.model_dump_json())
    assert _run_until(point, tmp_path / "job.json", simulator) == -signal.SIGKILL
    manifest = await carry_batches(job, credentials)

    assert_whole(manifest, ROWS)
    assert (billed(simulator), paid_twice(simulator)) == (ROWS, 0)
    assert counter(simulator, "batches_created") == 3


def _run_until(point: str, job_file: Path, simulator: Simulator) -> int:
    process = _PROCESSES.Process(target=run_until, args=(job_file, simulator.base_url, point))
    process.start()
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode
