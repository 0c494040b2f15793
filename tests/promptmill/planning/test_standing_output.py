"""A folder with files of somebody else is no place for a first output; whatever isn't ours stays."""

from pathlib import Path

import pytest

from promptmill.dataset.files import Files
from promptmill.errors import OutputError
from promptmill.planning.standing_output import is_foreign
from promptmill.provider.transport import Credentials
from promptmill.runs.run import FinishedRun, PendingRun
from promptmill.simulator import Simulator
from tests.support.jobs import MakeJob, carry_out, plan, plan_any


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("notes.txt", True, id="a-file"),
        pytest.param("part-00000-4b1c.snappy.parquet", True, id="a-part-of-spark"),
        pytest.param("year=2024/a.parquet", True, id="a-partition"),
        pytest.param("_delta_log/00000.json", True, id="a-delta-table"),
        pytest.param("part-0a1b2c3d-00000.parquet", False, id="a-part-of-ours"),
        pytest.param("_failures/part-0a1b2c3d-00000.parquet", False, id="failures"),
        pytest.param("_checkpoints/lease/a.json", False, id="checkpoints"),
        pytest.param("_samples/_manifest.json", False, id="samples"),
        pytest.param("_manifest.json", False, id="manifest"),
        pytest.param("_probe-1a2b", False, id="a-probe-that-was-killed"),
        pytest.param(".gitkeep", False, id="a-hidden-file"),
    ],
)
def test_a_file_is_foreign_unless_its_name_is_one_of_ours(name: str, expected: bool) -> None:
    assert is_foreign(name) == expected


def test_a_first_run_refuses_a_folder_with_files_of_others(make_job: MakeJob, credentials: Credentials) -> None:
    job = make_job(3)
    notes = Path(job.output.url, "2024", "notes.txt")
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")

    with pytest.raises(OutputError, match=r"1 file\(s\) .*2024/notes.txt.*output.allow_other_files"):
        plan(job, credentials)

    assert notes.read_text() == "mine"


async def test_a_run_that_may_begin_there_leaves_the_files_alone_and_so_do_later_runs(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    job = make_job(3, output__allow_other_files=True)
    notes = Path(job.output.url, "notes.txt")
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")
    await carry_out(job, credentials)
    same = job.model_copy(update={"output": job.output.model_copy(update={"allow_other_files": False})})
    manifest = await carry_out(same, credentials)

    assert manifest.requests_sent == 0
    assert notes.read_text() == "mine"


def test_an_output_may_begin_on_the_folder_of_its_input(make_job: MakeJob, credentials: Credentials) -> None:
    job = make_job(3)
    folder = str(Path(job.input.urls[0]).parent)

    assert isinstance(
        plan(job.model_copy(update={"output": job.output.model_copy(update={"url": folder})}), credentials), PendingRun
    )


async def test_a_complete_output_is_found_without_opening_a_file_of_the_input(
    make_job: MakeJob, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(3)
    await carry_out(job, credentials)
    opened = list[str]()
    monkeypatch.setattr(Files, "open_raw", lambda _files, file: opened.append(file.path))  # pyright: ignore[reportUnknownLambdaType]

    assert isinstance(plan_any(job, credentials), FinishedRun)
    assert opened == []
