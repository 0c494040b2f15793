"""A value that Python can't hold costs its row when a prompt needs it, and nothing when it is only carried."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import promptmill
from promptmill.errors import DatasetError
from promptmill.output.reading import read_rows
from promptmill.provider.transport import Credentials
from tests.support.jobs import MakeJob, carry_out, plan

TEXT = pa.array([b"fine", b"R\xc9UNION", b"good"], pa.binary()).view(pa.string())
YEAR_10000 = pa.array([0, 2932897, 1], pa.date32())
BAD = {
    "text": TEXT,
    "large-text": TEXT.cast(pa.large_string()),
    "text-view": TEXT.cast(pa.string_view()),
    "half-a-surrogate": pa.array([b"fine", b"\xed\xa0\xbd", b"good"], pa.binary()).view(pa.string()),
    "date": YEAR_10000,
    "year-0": pa.array([0, -719529, 1], pa.date32()),
    "moment": pa.array([0, 2**62, 1], pa.timestamp("us", "UTC")),
    "duration": pa.array([0, 2**62, 1], pa.duration("s")),
    "inside-a-list": pa.array([[0], [2932897], []], pa.list_(pa.date32())),
    "inside-a-struct": pa.StructArray.from_arrays([TEXT], ["name"]),
}


@pytest.mark.parametrize("values", BAD.values(), ids=BAD)
def test_a_bad_value_in_a_prompt_fails_its_row_alone(
    tmp_path: Path, make_job: MakeJob, credentials: Credentials, values: pa.Array
) -> None:
    planned = plan(
        _job_over(make_job, tmp_path, {"odd name": values}, "{{ row['odd name'] }}"), credentials
    ).preflight.plan

    assert planned.unrendered == 1
    assert planned.first_unrendered is not None
    row, message = planned.first_unrendered
    assert row == 1
    assert "column 'odd name' has" in message
    assert "in row 1," in message


async def test_a_run_publishes_bad_values_as_they_are(
    tmp_path: Path, make_job: MakeJob, credentials: Credentials
) -> None:
    columns = {**BAD, "zone": pa.array([1, 2, 3], pa.timestamp("us", "Mars/Olympus"))}
    template = "{{ n }} {{ date | default('unreadable') }} {{ text }}"
    job = _job_over(make_job, tmp_path, columns, template)

    manifest = await carry_out(job, credentials)

    assert (manifest.succeeded, manifest.failures_by_kind) == (2, {"template_error": 1})
    answers, failures = promptmill.read(job.output.url), promptmill.read_failures(job.output.url)
    assert (list(answers["n"]), list(failures["n"])) == ([0, 2], [1])
    assert "column 'text' has" in failures["llm_error_message"][0]
    (failed,) = read_rows(job.output.url, failures=True)
    assert str(failed["text"]) == "R\N{REPLACEMENT CHARACTER}UNION"
    assert pq.read_table(Path(job.output.url) / manifest.failure_parts[0].path)["date"].cast(
        pa.int32()
    ).to_pylist() == [2932897]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        pytest.param(TEXT, r"row 1 has text that isn't valid UTF-8 in 'id'", id="text"),
        pytest.param(YEAR_10000, r"row 1 has a date32\[day\].*in 'id'", id="date"),
        pytest.param(pa.array([1.0, float("nan"), 2.0]), r"row 1 has NaN in 'id'", id="nan"),
        pytest.param(pa.array([["a"], ["b"], ["c"]]), r"'id' is list<", id="list"),
        pytest.param(pa.array([{"a": 1}, {"a": 2}, {"a": 3}]), r"'id' is struct<", id="struct"),
        pytest.param(pa.nulls(3), r"'id' is null", id="nulls"),
    ],
)
def test_an_id_that_tells_no_rows_apart_is_refused(
    tmp_path: Path, make_job: MakeJob, credentials: Credentials, ids: pa.Array, message: str
) -> None:
    job = _job_over(make_job, tmp_path, {"id": ids}, "{{ n }}", id_column="id")

    with pytest.raises(DatasetError, match=message):
        plan(job, credentials)


def _job_over(make_job: MakeJob, folder: Path, columns: Any, template: str, **spec: Any) -> Any:
    pq.write_table(pa.table({"n": [0, 1, 2], **columns}), folder / "odd.parquet")
    return make_job(1, input={"url": str(folder / "odd.parquet"), **spec}, request__user=template, max_failure_ratio=1)
