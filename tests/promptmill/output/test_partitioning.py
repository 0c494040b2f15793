"""Parts in the folders of output.partition_by: written, cleaned up and read back; wrong columns are refused first."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill import hive_folders
from promptmill.errors import DatasetError, JobError
from promptmill.hive_folders import FOLDER_TYPES, folder_of, values_in
from promptmill.output import part_files
from promptmill.output.manifest import read_manifest
from promptmill.output.partitioning import FolderCheck
from promptmill.output.reading import read, read_failures
from promptmill.planning.prepared_job import prepare
from promptmill.provider.transport import Credentials
from promptmill.runs.run import FinishedRun
from promptmill.storage import Storage
from tests.support.jobs import TODAY, MakeJob, carry_out, plan, plan_any

ROWS = 60
ODD = ["a/b", "..", "", "__HIVE_DEFAULT_PARTITION__", "x=1", "ü %41", None]
LABEL: dict[str, Any] = {
    "type": "object",
    "properties": {
        "label": {"enum": ["good", "bad"]},
        "note": {"type": "string"},
        "sure": {"type": ["boolean", "null"]},
    },
    "required": ["label", "note", "sure"],
    "additionalProperties": False,
}


@given(name=st.text(min_size=1), value=st.none() | st.text())
def test_a_value_comes_back_from_its_folder(name: str, value: str | None) -> None:
    folder = folder_of(name, value)

    assert values_in(f"{folder}/part.parquet") == ((name, value),)
    assert "/" not in folder
    assert folder[0] not in "._="


@pytest.fixture
def job_of(make_job: MakeJob, tmp_path: Path) -> MakeJob:
    """Makes jobs over rows with a day, a country, and a text; every tenth text is null, so its row fails."""
    table = pa.table(
        {
            "text": [None if number % 10 == 9 else f"text {number}" for number in range(ROWS)],
            "day": pa.array([20_000 + number % 3 for number in range(ROWS)], pa.int32()).cast(pa.date32()),
            "country": pa.array([ODD[number % len(ODD)] for number in range(ROWS)]).dictionary_encode(),
            "weight": [number / 7 for number in range(ROWS)],
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")

    def make(**changes: Any) -> Any:
        return make_job(1, **{"input__url": str(tmp_path / "in.parquet"), "max_failure_ratio": 1, **changes})

    return make


async def test_rows_lie_in_the_folders_of_their_values_and_come_back_with_their_types(
    job_of: MakeJob, credentials: Credentials, tmp_path: Path
) -> None:
    manifest = await carry_out(job_of(output__partition_by=["day", "country"]), credentials)
    out = tmp_path / "out"
    listed = [part.path for part in manifest.parts]

    frame, failures = read(str(out)), read_failures(str(out))
    assert (len(frame), len(failures)) == (54, 6)
    assert len(listed) == 3 * len(ODD) and listed == sorted(listed)
    assert listed[0].startswith("day=2024-10-04/country=")
    source = pq.read_table(tmp_path / "in.parquet").to_pylist()
    for row in frame.to_dict("records"):
        expected = source[row["row_index"]]
        assert (row["day"], row["country"] if isinstance(row["country"], str) else None) == (
            expected["day"],
            expected["country"],
        )
    assert set(failures.columns) >= {"day", "country", "llm_error_kind"}
    assert [str(name) for name in read(str(out), ["country", "row_index"]).columns] == ["country", "row_index"]
    assert len(read(str(out), ["day"])) == 54
    other = pads.dataset([str(out / path) for path in listed], partitioning="hive", partition_base_dir=str(out))
    assert other.count_rows() == 54
    assert isinstance(plan_any(job_of(output__partition_by=["day", "country"]), credentials), FinishedRun)


async def test_other_folders_take_the_place_of_old_ones_without_a_request(
    job_of: MakeJob, credentials: Credentials, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for columns in (["day"], ["label", "sure"], []):
        changes = {"request__response_schema": LABEL, "output__partition_by": columns}
        manifest = await carry_out(job_of(**changes), credentials)
        assert (len(read(str(out))), manifest.requests_sent) == (54, 54 if columns == ["day"] else 0)
        found = {name for name in Storage(str(out)).sizes() if "part-" in name and not name.startswith("_")}
        assert found == {part.path for part in manifest.parts}
        folders = {path.name.partition("=")[0] for path in out.iterdir() if "=" in path.name}
        assert folders == set(columns[:1])


async def test_folders_of_the_input_are_folders_of_the_output(
    make_job: MakeJob, credentials: Credentials, tmp_path: Path
) -> None:
    for day in ("2024-01-31", "2024-02-01"):
        (tmp_path / f"in/day={day}").mkdir(parents=True)
        (tmp_path / f"in/day={day}/a.csv").write_text(f"text\nof {day}\n")
    job = make_job(1, input__url=str(tmp_path / "in"), output__partition_by=["day"])
    manifest = await carry_out(job, credentials)

    assert [part.path.rpartition("/")[0] for part in manifest.parts] == ["day=2024-01-31", "day=2024-02-01"]
    assert read(str(tmp_path / "out"))["text"].to_list() == ["of 2024-01-31", "of 2024-02-01"]
    assert read_failures(str(tmp_path / "out"), ["day"]).empty


async def test_output_in_the_folder_of_its_input_is_no_input(
    make_job: MakeJob, credentials: Credentials, tmp_path: Path
) -> None:
    (tmp_path / "both").mkdir()
    pq.write_table(pa.table({"text": ["a", "b"], "day": ["1", "2"]}), tmp_path / "both/in.parquet")
    folder = str(tmp_path / "both")
    job = make_job(1, input__url=folder, output__url=folder, output__partition_by=["day"])
    await carry_out(job, credentials)

    assert isinstance(plan_any(job, credentials), FinishedRun)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        pytest.param(["dya"], "names 'dya'; folders are made by", id="unknown"),
        pytest.param(["row_index"], "names 'row_index'; folders are made by", id="our-own"),
        pytest.param(["note"], "names 'note'; folders are made by", id="free-text-of-the-answer"),
        pytest.param(["weight"], "names 'weight', which is double", id="double"),
        pytest.param(["day", "text"], "at most 10 folders", id="too-many"),
        pytest.param(["long"], "whose folder would have a name of", id="long-value"),
        pytest.param(["broken"], "isn't valid Unicode", id="invalid-text"),
    ],
)
def test_columns_that_make_no_folders_are_refused_before_the_first_request(
    make_job: MakeJob,
    credentials: Credentials,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    columns: list[str],
    message: str,
) -> None:
    monkeypatch.setattr("promptmill.output.partitioning._MOST_FOLDERS", 10)
    broken = pa.array([b"\xff"] * 12, pa.binary()).view(pa.string())
    texts = [f"text {number}" for number in range(12)]
    values: dict[str, Any] = {"text": texts, "day": ["1"] * 12, "weight": [0.5] * 12, "long": ["x" * 300] * 12}
    pq.write_table(pa.table({**values, "broken": broken}), tmp_path / "odd.parquet")
    changes = {"output__partition_by": columns, "request__response_schema": LABEL}

    with pytest.raises((JobError, DatasetError), match=message):
        plan(make_job(1, input__url=str(tmp_path / "odd.parquet"), **changes), credentials)


def test_a_column_is_named_once(make_job: MakeJob) -> None:
    with pytest.raises(ValueError, match="it names 'day' twice"):
        make_job(1, output__partition_by=["day", "day"])


@pytest.mark.parametrize("name", list(FOLDER_TYPES))
def test_values_of_each_type_pass_the_check(name: str) -> None:
    kind = hive_folders.FOLDER_TYPES[name]
    check = FolderCheck(["c"])
    check.add(
        pa.table(
            {
                "c": pa.array(["true", None] if name == "bool" else ["2024-01-31"] if "date" in name else ["7"]).cast(
                    kind
                )
            }
        )
    )


async def test_memory_and_open_files_stay_bounded_with_many_folders(
    job_of: MakeJob, credentials: Credentials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_files, "_MOST_OPEN", 2)
    monkeypatch.setattr(part_files, "_MOST_PENDING_BYTES", 1_000)
    job = job_of(output__partition_by=["country"], output__format_options={"row_group_rows": 2}, chunk_rows=5)
    await carry_out(job, credentials)

    frame = read(str(tmp_path / "out"))
    assert sorted(frame["row_index"]) == [number for number in range(ROWS) if number % 10 != 9]
    assert all(group["row_index"].is_monotonic_increasing for _, group in frame.groupby("country", dropna=False))


async def test_files_are_written_as_the_job_says(job_of: MakeJob, credentials: Credentials, tmp_path: Path) -> None:
    job = job_of(output__format_options={"compression": "gzip", "row_group_rows": 20})
    manifest = await carry_out(job, credentials)

    written = pq.read_metadata(tmp_path / "out" / manifest.parts[0].path)
    assert written.row_group(0).column(0).compression == "GZIP"
    assert [written.row_group(number).num_rows for number in range(written.num_row_groups)] == [20, 20, 14]
    assert (await carry_out(job_of(), credentials)).requests_sent == 0
    (part,) = read_manifest(Storage(str(tmp_path / "out"))).parts  # pyright: ignore[reportOptionalMemberAccess]
    assert pq.read_metadata(tmp_path / "out" / part.path).row_group(0).column(0).compression == "ZSTD"


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"compression": "zip"}, id="unknown-compression"),
        pytest.param({"row_group_rows": 0}, id="no-rows"),
        pytest.param({"rows": 5}, id="unknown-key"),
    ],
)
def test_wrong_options_are_refused(make_job: MakeJob, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="format_options"):
        make_job(1, output__format_options=options)


def test_a_job_without_the_new_keys_keeps_its_identity(make_job: MakeJob) -> None:
    plain, empty = make_job(3), make_job(3, output__partition_by=[], output__format_options=None)

    assert prepare(plain, TODAY).identity == prepare(empty, TODAY).identity
    assert prepare(plain, TODAY).identity != prepare(make_job(3, output__partition_by=["text"]), TODAY).identity
