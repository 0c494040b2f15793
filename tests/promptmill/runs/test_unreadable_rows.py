"""Rows that can't be read are failures of a run, which sends nothing for them."""

from pathlib import Path
from typing import Any

import pytest

import promptmill
from promptmill.provider.transport import Credentials
from tests.support.jobs import MakeJob, carry_out

CSV = "id,n,text\na,1,first\nb,2,second,third\nc,x,fourth\nd,4,fifth\n"
JSONL = """{"id": "a", "n": 1, "text": "first"}
{"id": "b",
{"id": "c", "n": "x", "text": "fourth"}
{"id": "d", "n": 4, "text": "fifth"}
"""
RAW = {"csv": "b,2,second,third", "jsonl": '{"id": "b",'}


@pytest.mark.parametrize("id_column", [None, "id"])
@pytest.mark.parametrize(("suffix", "content"), [("csv", CSV), ("jsonl", JSONL)])
async def test_each_row_that_cannot_be_read_is_a_failure(
    tmp_path: Path, make_job: MakeJob, credentials: Credentials, suffix: str, content: str, id_column: str | None
) -> None:
    path = tmp_path / f"in.{suffix}"
    path.write_text(content)
    source: dict[str, Any] = {"url": str(path), "on_bad_row": "skip", "types": {"n": "int64"}, "id_column": id_column}
    job = make_job(4, input=source, request={"model": "gpt-5-nano", "user": "{{ text }}"}, max_failure_ratio=1.0)

    manifest = await carry_out(job, credentials)

    assert (manifest.rows, manifest.succeeded, manifest.failures_by_kind) == (4, 2, {"unreadable_row": 2})
    answers, failures = promptmill.read(job.output.url), promptmill.read_failures(job.output.url)
    assert list(answers["n"]) == [1, 4]
    assert list(failures["response"]) == [RAW[suffix], "x"]
    assert "column 'n'" in failures["llm_error_message"][1]
    assert list(failures["llm_attempts"]) == [0, 0]
    if id_column is None:
        assert (list(answers["row_index"]), list(failures["row_index"])) == ([0, 3], [1, 2])
    assert (await carry_out(job, credentials)).requests_sent == 0
    assert (await carry_out(job, credentials, retry_failed=True)).requests_sent == 0
