"""Input columns with the names of ours: the job gives ours others, and right answers keep the name of what they answer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import promptmill
from promptmill.errors import JobError
from promptmill.job.spec import Job
from promptmill.output.manifest import REPORT
from promptmill.provider.transport import Credentials
from tests.support.jobs import MakeJob, carry_out, plan

OURS = ("response", "llm_model", "llm_error_kind", "row_index", "label")


@pytest.mark.parametrize(
    ("column", "setting"),
    [
        pytest.param("response", "output.response_column", id="answer"),
        pytest.param("llm_model", "output.meta_prefix", id="of-answers"),
        pytest.param("llm_error_kind", "output.meta_prefix", id="of-failures"),
        pytest.param("row_index", "output.row_index_column", id="row-index"),
        pytest.param("label", "output.answer_prefix", id="property"),
    ],
)
def test_a_clash_names_the_column_and_the_key_to_set(
    tmp_path: Path, make_job: MakeJob, credentials: Credentials, column: str, setting: str
) -> None:
    job = _job_over(make_job, tmp_path, [column])

    with pytest.raises(JobError, match=rf"'{column}' would be.*Set {setting},.*input\.columns"):
        plan(job, credentials)


async def test_columns_of_the_input_keep_the_names_of_ours(
    tmp_path: Path, make_job: MakeJob, credentials: Credentials
) -> None:
    names = {"response_column": "the answer", "answer_prefix": "a.", "meta_prefix": "ä-", "row_index_column": "n"}
    renamed = {f"output__{key}": value for key, value in names.items()}
    job = _job_over(make_job, tmp_path, OURS, null_text=3, **renamed)

    manifest = await carry_out(job, credentials)

    answers, failures = promptmill.read(job.output.url), promptmill.read_failures(job.output.url)
    assert (manifest.succeeded, manifest.failed) == (len(answers), len(failures)) == (19, 1)
    carried = ["n", "text", *OURS]
    assert [*carried, "the answer", "a.label", "a.score", "ä-custom_id"] == list(answers.columns)[:11]
    failed = ["ä-custom_id", "ä-error_kind", "ä-error_message", "ä-http_status", "ä-attempts", "the answer"]
    failed = [*failed, "ä-answered_by"]
    assert [*carried, *failed] == list(failures.columns)
    assert set(answers["response"]) == {"response of the input"}
    assert set(answers["a.label"]) <= {"good", "bad"}


async def test_right_answers_may_have_the_name_of_the_property_that_they_answer(
    tmp_path: Path, make_job: MakeJob, credentials: Credentials
) -> None:
    job = _job_over(make_job, tmp_path, ["label"], output__compare={"label": "label"})
    run = plan(job, credentials)

    manifest = await carry_out(job, credentials)

    assert any("'label' is the output's column 'answer_label'" in note for note in run.preflight.warnings)
    answers = promptmill.read(job.output.url)
    assert set(answers["label"]) == {"label of the input"}
    assert set(answers["answer_label"]) <= {"good", "bad"}
    assert manifest.accuracy is not None
    assert manifest.accuracy["label"]["compared"] == 20
    assert "Accuracy of label" in (Path(job.output.url) / REPORT).read_text()


async def test_other_names_publish_the_kept_answers_once_more(
    tmp_path: Path, make_job: MakeJob, credentials: Credentials
) -> None:
    await carry_out(_job_over(make_job, tmp_path, []), credentials)

    renamed = _job_over(make_job, tmp_path, [], output__response_column="said")
    manifest = await carry_out(renamed, credentials)

    assert (manifest.requests_sent, manifest.reused) == (0, 20)
    assert "said" in promptmill.read(renamed.output.url)
    assert len(promptmill.read_failures(renamed.output.url).columns) == 9


def _job_over(make_job: MakeJob, folder: Path, names: Sequence[str], null_text: int = -1, **changes: Any) -> Job:
    """A job over twenty rows with such columns beside the text; a row without text fails."""
    columns = {name: [f"{name} of the input"] * 20 for name in names}
    texts = [None if number == null_text else f"text {number}" for number in range(20)]
    pq.write_table(pa.table({"text": texts, **columns}), folder / "named.parquet")
    return make_job(1, input={"url": str(folder / "named.parquet")}, max_failure_ratio=1, **changes)
