"""A list of URLs is one input: in the order of the list, no file twice, and each URL by the rules that hold for one."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prefect.utilities.schema_tools.validation import validate

from flows.online_inference import online_inference
from promptmill import allowed_urls
from promptmill.allowed_urls import OPEN, URLS_SETTING, close_to_unlisted
from promptmill.dataset.dataset import list_input, open_dataset
from promptmill.errors import DatasetError, JobError
from promptmill.job.file import parse_job, parse_override
from promptmill.job.identity import job_digest
from promptmill.job.spec import Input
from promptmill.output.differences import describe_difference
from promptmill.output.manifest import public_job
from promptmill.provider.transport import Credentials
from promptmill.runs.run import FinishedRun
from promptmill.sharding.plan import absolute_job
from tests.flows.test_forms import schema_of
from tests.support.jobs import MakeJob, carry_out, plan_any

SECRET = "s3cr3tsecret"


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Path]:
    """A folder with CSV files whose only row is their name; memory://lists has a file of the same path as one of them."""
    for name in ("a.csv", "b.csv", "more/c.csv", "more/d.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"text\n{name}\n")
    (tmp_path / "empty.csv").touch()
    (tmp_path / "notes").write_text("text\nx\n")
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "x.parquet")
    memory = fsspec.filesystem("memory")
    memory.pipe_file(f"memory:/{tmp_path}/a.csv", b"text\nin memory\n")
    yield tmp_path
    memory.rm(f"memory:/{tmp_path}", recursive=True)


def texts(urls: list[str], output: str | None = None) -> list[str]:
    """The rows at these URLs."""
    found = open_dataset(Input.model_validate({"url": urls}), output)
    return [text for table in found.read(2) for text in table["text"].to_pylist()]


@pytest.mark.parametrize(
    ("urls", "expected"),
    [
        pytest.param(["b.csv", "a.csv"], ["b.csv", "a.csv"], id="order-of-the-list"),
        pytest.param(["more", "*.csv"], ["more/c.csv", "more/d.csv", "a.csv", "b.csv"], id="folder-and-pattern"),
        pytest.param(["b.csv", "[ab].csv", "b.csv"], ["b.csv", "a.csv"], id="no-file-twice"),
        pytest.param(["empty.csv", "a.csv"], ["a.csv"], id="empty-file"),
        pytest.param(["a.csv"], ["a.csv"], id="list-of-one"),
        pytest.param(["more", "a.csv"], ["more/c.csv", "more/d.csv", "a.csv"], id="output-in-one-of-them"),
    ],
)
def test_files_are_read_in_the_order_of_the_list(
    lake: Path, monkeypatch: pytest.MonkeyPatch, urls: list[str], expected: list[str]
) -> None:
    monkeypatch.chdir(lake)
    (lake / "more/out").mkdir()
    (lake / "more/out/old.csv").write_text("text\nanswered\n")

    assert texts(urls, str(lake / "more/out")) == expected


def test_storages_may_differ_and_have_files_of_one_path(lake: Path) -> None:
    assert texts([f"memory:/{lake}/a.csv", f"{lake}/a.csv"]) == ["in memory", "a.csv"]


@pytest.mark.parametrize(
    ("urls", "message"),
    [
        pytest.param(["a.csv", "x.parquet"], "a.csv, .*x.parquet holds files of parquet and csv", id="two-formats"),
        pytest.param(["a.csv", "notes"], "notes has a suffix that names no format", id="no-format"),
        pytest.param(["a.csv", "nothing/*.csv"], "no file was found at .*nothing", id="no-file"),
        pytest.param(["a.csv", "s3x://lake/a.csv"], "s3x://lake/a.csv can't be read", id="unknown-storage"),
        pytest.param(["empty.csv", "empty.csv"], "has 0 rows: its 1 file", id="no-rows"),
    ],
)
def test_list_is_refused_for_one_wrong_url(
    lake: Path, monkeypatch: pytest.MonkeyPatch, urls: list[str], message: str
) -> None:
    monkeypatch.chdir(lake)
    with pytest.raises(DatasetError, match=message):
        texts(urls)


def test_each_url_has_to_be_allowed(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URLS_SETTING, str(lake / "more"))
    monkeypatch.setattr(allowed_urls, "_rules", OPEN)  # to which it is set back
    close_to_unlisted()

    assert texts([f"{lake}/more/c.csv", f"{lake}/more/d.csv"]) == ["more/c.csv", "more/d.csv"]
    with pytest.raises(JobError, match="input.url"):
        texts([f"{lake}/more/c.csv", f"{lake}/a.csv"])


def test_list_of_one_is_the_url_itself_and_another_order_is_another_input(lake: Path, make_job: MakeJob) -> None:
    a, b = f"{lake}/a.csv", f"{lake}/b.csv"
    fingerprints = {list_input(Input.model_validate({"url": urls})).fingerprint for urls in ([a, b], [b, a], a, [a])}

    assert job_digest(make_job(1, input__url=[a])) == job_digest(make_job(1, input__url=a))
    assert len({job_digest(make_job(1, input__url=urls)) for urls in ([a, b], [b, a], a)}) == 3
    assert len(fingerprints) == 3


def test_list_is_written_without_the_secrets_of_its_urls(make_job: MakeJob) -> None:
    jobs = [make_job(1, input__url=["a.csv", f"https://h/b.csv?sig={SECRET}{n}"]) for n in range(2)]

    assert public_job(jobs[0])["input"]["url"] == ["a.csv", "https://h/b.csv?sig=***"]
    assert SECRET.encode() not in orjson.dumps(public_job(jobs[0]))
    with pytest.raises(DatasetError) as caught:
        list_input(Input.model_validate({"url": [f"s3x://u:{SECRET}@h/{n}.csv" for n in range(2)]}))
    assert SECRET not in str(caught.value)


def test_list_comes_from_the_command_line_and_from_the_form(make_job: MakeJob) -> None:
    values = make_job(1).model_dump(mode="json", exclude_unset=True)
    key, urls = parse_override("input.url=['a [1].csv', 's3://lake/*.csv']")
    job = parse_job(values, {key: urls})

    assert job.input.urls == ("a [1].csv", "s3://lake/*.csv")
    shown = {"job": {**values, "input": {"url": list(job.input.urls)}}}
    assert validate(shown, schema_of(online_inference)) == []
    assert absolute_job(job).input.urls == (str(Path("a [1].csv").absolute()), "s3://lake/*.csv")
    with pytest.raises(JobError, match="input.url"):
        parse_job(values, {key: []})


async def test_run_reads_a_list_and_finds_its_output_complete(
    lake: Path, make_job: MakeJob, credentials: Credentials
) -> None:
    job = make_job(1, input__url=[f"{lake}/more", f"{lake}/a.csv"])
    found = await carry_out(job, credentials)
    other = make_job(1, input__url=[f"{lake}/more", f"{lake}/b.csv"])

    assert isinstance(plan_any(job, credentials), FinishedRun)
    assert found.succeeded == 3
    assert found.job["input"]["url"] == [f"{lake}/more", f"{lake}/a.csv"]
    assert [line.partition(":")[0] for line in describe_difference(found, other)] == ["input.url.1"]
