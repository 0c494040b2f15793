"""Batch files that are run elsewhere: what their results bring, whatever a line of them is."""

import json
from pathlib import Path

import pytest

import promptmill
from promptmill.batch.exchange import export_batches, import_results
from promptmill.errors import DatasetError
from promptmill.provider.transport import Credentials
from promptmill.simulator import Simulator
from tests.support.billing import billed
from tests.support.jobs import MakeJob, carry_out, plan
from tests.support.odd_batches import result

ROWS, ODD_ROW = 12, 5
ODD_LINES = [
    pytest.param(b"", id="empty"),
    pytest.param(b"these are no results", id="no-json"),
    pytest.param(b'{"custom_id":"%s","response":{"status_code":200,"bo', id="torn"),
    pytest.param(b"[]", id="list"),
    pytest.param(b"7", id="number"),
    pytest.param(b'\xff\xfe{"custom_id":"%s"}', id="no-utf-8"),
    pytest.param(b"\0" * 40, id="zeros"),
    pytest.param(b'{"custom_id":["%s"]}', id="id-in-a-list"),
    pytest.param(b'{"custom_id":"%s"}', id="no-response"),
    pytest.param(b'{"custom_id":"%s","response":[]}', id="response-is-a-list"),
    pytest.param(b'{"custom_id":"%s","response":{"status_code":1e30,"body":{}}}', id="status-of-30-digits"),
    pytest.param(b'{"custom_id":"%s","response":{"status_code":200,"body":{"choices":7}}}', id="choices-are-a-number"),
    pytest.param(b'{"custom_id":"%s","error":{"code":[1],"message":{"a":1}}}', id="error-of-other-types"),
    pytest.param(b'{"custom_id":"%s","response":' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="deep"),
    pytest.param(b'{"custom_id":"%s","response":{"status_code":200,"body":{"id":"\\ud800"}}}', id="half-a-surrogate"),
]


def answered(exported: list[Path]) -> list[bytes]:
    """A good line of results for each exported row."""
    lines = [json.loads(line) for path in exported for line in path.read_bytes().splitlines()]
    return [json.dumps(result(line)).encode() for line in lines]


@pytest.mark.parametrize("odd", ODD_LINES)
async def test_a_line_that_cannot_be_read_costs_no_other_line(
    odd: bytes, make_job: MakeJob, credentials: Credentials, simulator: Simulator, tmp_path: Path
):
    job = make_job(ROWS)
    run = plan(job, credentials)
    lines = answered(export_batches(run, tmp_path / "files"))
    custom_id = json.loads(lines[ODD_ROW])["custom_id"].encode()
    lines[ODD_ROW] = odd.replace(b"%s", custom_id)
    (tmp_path / "results.jsonl").write_bytes(b"\n".join(lines))

    kept, unused = import_results(run, [tmp_path / "results.jsonl"])
    manifest = await carry_out(job, credentials)

    assert (kept, unused) == (ROWS - 1, 0 if odd == b"" else 1)
    assert (manifest.succeeded, manifest.failed, billed(simulator, "default")) == (ROWS, 0, 1)
    assert len(promptmill.read(job.output.url)) == ROWS


def test_results_of_another_job_are_refused_with_the_reason(
    make_job: MakeJob, credentials: Credentials, tmp_path: Path
):
    run = plan(make_job(ROWS), credentials)
    (tmp_path / "results.jsonl").write_bytes(json.dumps(result({"custom_id": "0" * 32 + "-00000000"})).encode())

    with pytest.raises(DatasetError, match=r"none of the 1 lines in 1 files answers a row .*joined by custom_id"):
        import_results(run, [tmp_path / "results.jsonl"])
