"""A storage that takes nothing more costs at most the answers in flight and those that wait to be saved."""

import asyncio
import time
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow.parquet as pq
import pytest

from promptmill.checkpoints import saver
from promptmill.errors import StorageFailed
from promptmill.provider.transport import Credentials
from promptmill.runs.run import answering
from promptmill.simulator import Simulator
from promptmill.standalone import answering as alone
from promptmill.storage import Storage
from tests.support.jobs import MakeJob, carry_out, plan


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, float]:
    """How many more files of answers the storage takes; then its disk is full, for so many seconds."""
    monkeypatch.setattr(saver, "_RETRY_SECONDS", 0.01)
    (tmp_path / "full").touch()
    monkeypatch.setenv("PROMPTMILL_UNSAVED_FOLDER", str(tmp_path / "full" / "unsaved"))  # no room here either
    left, lock, write = {"files": 0.0, "seconds": float("inf"), "until": 0.0}, Lock(), Storage.write

    def write_while_there_is_room(storage: Storage, name: str, data: bytes) -> None:
        if name.endswith(".parquet"):
            with lock:
                left["files"] -= 1
                if left["files"] == -1:
                    left["until"] = time.monotonic() + left["seconds"]
                if left["files"] < 0 and time.monotonic() < left["until"]:
                    raise OSError(28, "No space left on device")
        write(storage, name, data)

    monkeypatch.setattr(Storage, "write", write_while_there_is_room)
    return left


@pytest.mark.parametrize("files", range(8))
@pytest.mark.parametrize("in_flight", [1, 3])
async def test_a_full_disk_costs_no_more_than_the_bound(
    make_job: MakeJob,
    credentials: Credentials,
    simulator: Simulator,
    full: dict[str, float],
    files: int,
    in_flight: int,
) -> None:
    simulator.configure(latency_seconds=0.02, latency_jitter=0.7)
    full["files"] = files
    limits: dict[str, Any] = {"max_concurrency": 8}
    job = make_job(120, chunk_rows=40, checkpoint_rows=4, chunks_in_flight=in_flight, limits=limits)

    with pytest.raises(StorageFailed):
        await carry_out(job, credentials)

    await asyncio.sleep(0.1)
    kept = sum(pq.read_metadata(path).num_rows for path in Path(job.output.url, "_checkpoints").rglob("*.parquet"))
    billed = simulator.ledger()["totals"]["requests"]
    assert billed - kept <= 8 + 4 * in_flight


@pytest.mark.parametrize(
    "seconds", [0.02, 0.1, 0.25]
)  # a chunk's third and last attempt is at least 0.3 s after its first
@pytest.mark.parametrize("files", range(0, 12, 3))
async def test_a_run_goes_on_once_a_storage_that_failed_several_chunks_is_back(
    make_job: MakeJob,
    credentials: Credentials,
    simulator: Simulator,
    full: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
    files: int,
    seconds: float,
) -> None:
    monkeypatch.setattr(alone, "_RETRY_DELAYS_SECONDS", (0.1, 0.2))
    simulator.configure(latency_seconds=0.02, latency_jitter=0.7)
    full |= {"files": files, "seconds": seconds}
    job = make_job(60, chunk_rows=20, checkpoint_rows=4, chunks_in_flight=3, limits={"max_concurrency": 8})

    async with asyncio.timeout(10), answering(plan(job, credentials)) as engine:
        await alone.answer_rows_alone(engine)

    assert simulator.ledger()["totals"]["requests"] == 60
