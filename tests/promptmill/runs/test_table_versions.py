"""A run over a table reads one version: also when the table grows meanwhile, and when it is started again."""

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from promptmill.checkpoints.output_turn import Asking, take_turn_at
from promptmill.errors import DatasetError
from promptmill.output.reading import read
from promptmill.provider.transport import Credentials
from promptmill.runs.holding import holding
from promptmill.runs.run import FinishedRun, PendingRun
from promptmill.standalone.answering import Alone
from promptmill.standalone.running import run_alone
from tests.support.jobs import MakeJob, carry_out, plan, plan_any


def append(folder: Path, *texts: str) -> None:
    write_deltalake(str(folder), pa.table({"text": list(texts)}), mode="append")


async def die_while_holding(run: PendingRun) -> None:
    """Begin a run, and end as a killed process does."""
    turn = await take_turn_at(run.prepared.store.storage, Asking("a test"))
    with pytest.raises(KeyboardInterrupt):
        async with holding(run, turn):
            raise KeyboardInterrupt


async def test_run_that_is_started_again_reads_the_version_with_which_it_began(
    make_job: MakeJob, credentials: Credentials, tmp_path: Path
) -> None:
    append(tmp_path / "t", "a", "b")
    job = make_job(1, input__url=str(tmp_path / "t"))
    await die_while_holding(plan(job, credentials))
    append(tmp_path / "t", "c")

    again = plan(job, credentials)
    assert again.preflight.plan.rows == 2
    append(tmp_path / "t", "d")
    manifest = (await run_alone(again, Alone(Asking("a test")))).manifest
    assert (manifest.rows, manifest.input_versions) == (2, {str(tmp_path / "t"): "0"})
    assert read(str(tmp_path / "out"))["text"].to_list() == ["a", "b"]

    later = await carry_out(job, credentials)
    assert (later.rows, later.requests_sent, later.input_versions) == (4, 2, {str(tmp_path / "t"): "2"})
    assert isinstance(plan_any(job, credentials), FinishedRun)


async def test_another_job_begins_with_the_newest_version(
    make_job: MakeJob, credentials: Credentials, tmp_path: Path
) -> None:
    append(tmp_path / "t", "a")
    await die_while_holding(plan(make_job(1, input__url=str(tmp_path / "t")), credentials))
    append(tmp_path / "t", "b")

    other = make_job(1, input__url=str(tmp_path / "t"), request__user="Other: {{ text }}")
    assert plan(other, credentials).preflight.plan.rows == 2


async def test_version_that_is_gone_is_an_error_that_says_what_to_do(
    make_job: MakeJob, credentials: Credentials, tmp_path: Path
) -> None:
    append(tmp_path / "t", "a")
    job = make_job(1, input__url=str(tmp_path / "t"))
    await die_while_holding(plan(job, credentials))
    old = [*(tmp_path / "t").glob("*.parquet")]
    write_deltalake(str(tmp_path / "t"), pa.table({"text": ["b"]}), mode="overwrite")
    for part in old:
        part.unlink()

    with pytest.raises(DatasetError, match=r"began with that version.*delete .*table_versions\.json"):
        plan(job, credentials)
