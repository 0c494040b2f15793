"""A whole run on a real S3 server (SeaweedFS), by both roads: input, checkpoints, ledger and output in a bucket."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs

import promptmill
from promptmill.errors import OutputError, ProviderRefused
from promptmill.job.spec import Job
from promptmill.provider.transport import Credentials
from promptmill.simulator import Simulator
from promptmill.storage import Storage
from tests.support.batching import carry_batches
from tests.support.billing import billed, counter, paid_twice
from tests.support.jobs import carry_out

ROWS = 40


@pytest.fixture
def folder(s3_folder: str) -> str:
    """A folder of its own in the bucket."""
    return s3_folder


def job_in(folder: str, output: str = "out") -> Job:
    """A job whose rows and answers lie in the bucket."""
    table = pa.table({"text": [f"text number {number}" for number in range(ROWS)]})
    with s3fs.S3FileSystem().open(f"{folder}/in/rows.parquet", "wb") as file:
        pq.write_table(table, file)
    values = {
        "name": "lake",
        "input": {"url": f"{folder}/in/"},
        "request": {"model": "gpt-6-luna", "user": "Label: {{ text }}", "parameters": {"max_completion_tokens": 16}},
        "output": {"url": f"{folder}/{output}/"},
        "chunk_rows": 10,
        "checkpoint_rows": 4,
        "batch": {"poll_seconds": 0.1},
    }
    return Job.model_validate(values)


async def test_a_run_that_stopped_goes_on_from_the_bucket(folder: str, credentials: Credentials, simulator: Simulator):
    job = job_in(folder)
    simulator.configure(quota_after=15)
    with pytest.raises(ProviderRefused):
        await carry_out(job, credentials)
    simulator.configure(quota_after=None)
    manifest = await carry_out(job, credentials)
    again = await carry_out(job, credentials)

    assert list(promptmill.read(job.output.url)["row_index"]) == list(range(ROWS))
    assert (manifest.rows, again.requests_sent) == (ROWS, 0)
    assert (billed(simulator, "default"), paid_twice(simulator)) == (ROWS, 0)


async def test_a_batch_run_keeps_its_ledger_in_the_bucket(folder: str, credentials: Credentials, simulator: Simulator):
    simulator.configure(batch_seconds=0.2, line_missing_ratio=0.05)
    job = job_in(folder)
    manifest = await carry_batches(job, credentials)
    ledger = Storage(f"{folder}/out/_checkpoints/batches").sizes()

    assert (
        manifest.succeeded + manifest.failures_by_kind.get("missing", 0) == ROWS
    )  # two batches may lose the same line
    assert sum(name.endswith(".json") for name in ledger) == counter(simulator, "batches_created") + 1
    simulator.configure(line_missing_ratio=0.0)
    assert (await carry_batches(job, credentials)).succeeded == ROWS
    assert (billed(simulator), paid_twice(simulator)) == (ROWS, 0)


async def test_two_processes_cannot_both_create_an_intent_in_a_bucket(folder: str):
    storage = Storage(folder)

    assert [storage.create("intent.json", b"ours"), storage.create("intent.json", b"theirs")] == [True, False]
    assert storage.read("intent.json") == b"ours"


async def test_a_missing_bucket_is_an_error_before_anything_is_sent(
    folder: str, credentials: Credentials, simulator: Simulator
):
    job = job_in(folder)
    away = job.model_copy(update={"output": job.output.model_copy(update={"url": "s3://no-such-bucket/out"})})
    with pytest.raises(OutputError, match="no-such-bucket"):
        await carry_out(away, credentials)

    assert counter(simulator, "attempts") == 0
