"""The answers so far: those that the finished output will have, and no others."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import promptmill
from promptmill.checkpoints.output_turn import Asking
from promptmill.errors import OutputError, RunStopped
from promptmill.job.spec import Job
from promptmill.provider.transport import Credentials
from promptmill.runs.run import FinishedRun
from promptmill.simulator import Simulator
from promptmill.standalone.answering import Alone
from promptmill.standalone.running import run_alone
from tests.support.commands import write_job
from tests.support.jobs import MakeJob, plan

TEXTS = ["same", None, *(f"text {number}" for number in range(30)), "same", "text 3"]  # null: its template fails


async def finish(job: Job, credentials: Credentials) -> FinishedRun:
    return await run_alone(plan(job, credentials), Alone(Asking("a test")))


async def stop_midway(job: Job, credentials: Credentials, simulator: Simulator, answers: int) -> None:
    """A run that the provider ends after so many answers."""
    simulator.configure(quota_after=answers)
    with pytest.raises(RunStopped):
        await finish(job, credentials)
    simulator.configure(quota_after=None)


def by_id(frame: pd.DataFrame) -> dict[str, Any]:
    return {row["llm_custom_id"]: row for row in frame.to_dict("records")}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of its own, for the key by which a user's own runs are known."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))


async def test_the_rows_so_far_are_as_the_finished_output_has_them(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    job = make_job(TEXTS, chunk_rows=10)
    await stop_midway(job, credentials, simulator, 14)
    so_far = promptmill.read(job.output.url, partial=True)
    labels = promptmill.read(job.output.url, ["label"], partial=True)
    await finish(job, credentials)
    whole = promptmill.read(job.output.url)
    final = by_id(whole)

    assert 14 <= len(so_far) < len(whole) == len(TEXTS) - 1
    assert list(so_far.columns) == list(whole.columns)
    assert dict(so_far.dtypes) == dict(whole.dtypes)
    assert str(by_id(so_far)) == str({name: final[name] for name in by_id(so_far)})
    assert list(so_far["row_index"]) == sorted(set(so_far["row_index"]))
    assert list(labels["label"]) == list(so_far["label"])


async def test_answers_to_an_earlier_prompt_and_torn_files_are_left_out(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    job = make_job(30, chunk_rows=10)
    await finish(job, credentials)
    changed = make_job(30, chunk_rows=10, request__user="Another prompt: {{ text }}")
    run = plan(changed, credentials, overwrite=True)
    store = run.prepared.store
    earlier = store.listing().sizes
    simulator.configure(quota_after=30 + 12)
    with pytest.raises(RunStopped):
        await run_alone(run, Alone(Asking("a test")))
    before = promptmill.read(changed.output.url, partial=True)
    torn = next(name for name in store.listing().sizes if name.endswith(".parquet") and name not in earlier)
    rows = store.load(torn).num_rows
    store.storage.write(torn, store.storage.read(torn)[:-9])
    after = promptmill.read(changed.output.url, partial=True)

    assert len(before) == 12  # none of the thirty answers to the first prompt
    assert len(after) == 12 - rows < 12
    assert not set(before["llm_custom_id"]) & set(promptmill.read(job.output.url)["llm_custom_id"])


async def test_a_place_without_a_run_is_refused_and_a_job_file_is_a_place(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, tmp_path: Path
) -> None:
    job = make_job(30)
    path = write_job(job, tmp_path)
    with pytest.raises(OutputError, match="neither a finished output nor a run"):
        promptmill.read(str(path), partial=True)
    await stop_midway(job, credentials, simulator, 12)

    assert len(promptmill.read(str(path), partial=True)) == 12


async def test_a_run_of_somebody_else_leads_to_no_place_that_a_stranger_may_not_name(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job = make_job(30)
    await stop_midway(job, credentials, simulator, 12)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "another home"))

    with pytest.raises(OutputError, match=r"no run of yours wrote that. Give the job file"):
        promptmill.read(job.output.url, partial=True)
