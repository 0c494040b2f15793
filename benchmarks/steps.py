"""What a step of `advance-batches` costs: one without news, one that collects a batch, one that submits one more.

The rows of a small-row Parquet file go out in batches of 10,000, three at a time; the others wait for room in the
provider's queue. Only the step counts, in CPU seconds of this process: the provider has a process of its own, and
everything is imported before.
"""

import json
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TypeVar

from benchmarks.rig import provider, report, write_job, write_reviews
from promptmill.batch.session import open_batches, start_batches
from promptmill.batch.step import BatchWork
from promptmill.job.file import load_job
from promptmill.job.spec import Job
from promptmill.provider.transport import Credentials
from promptmill.runs.run import PendingRun, Planning, Run, plan_run

T = TypeVar("T")
_BATCH_ROWS = 10_000
_IN_FLIGHT = 3
_CHARACTERS = 60
_NEVER_SECONDS = 10**6
_TODAY = date(2026, 11, 24)


def main(*rows: str) -> None:
    """Measure the steps of jobs with so many rows."""
    for count in rows or ("100000", "2000000"):
        with tempfile.TemporaryDirectory() as name, provider(batch_seconds=1, track_bodies="false") as base_url:
            _measure(Path(name), int(count), base_url)


def _measure(folder: Path, rows: int, base_url: str) -> None:
    credentials = Credentials(api_key="benchmark", base_url=base_url)
    job = _job(folder, rows)
    run, planned = _timed(lambda: _plan(job, credentials))
    assert isinstance(run, PendingRun)
    tokens = run.preflight.plan.input_tokens * _BATCH_ROWS // rows
    one, less, more = (_with_room(job, tokens * batches) for batches in (1.5, _IN_FLIGHT - 1.5, _IN_FLIGHT - 0.5))
    _, began = _timed(start_batches(replace(run, prepared=replace(run.prepared, job=one))).step)
    _configure(base_url, batch_seconds=_NEVER_SECONDS)  # all but the first batch
    _, went_on = _timed(_opened(more, credentials).step)
    _wait_until_one_ends(one, credentials)
    steps = {"collect": less, "no_news": less, "no_news_again": less, "submit": more, "no_news_at_last": more}
    figures = {name: _step(settings, credentials) for name, settings in steps.items()}
    report(
        f"steps/{rows}", plan=round(planned, 2), first_step=round(began, 2), second_step=round(went_on, 2), **figures
    )


def _step(job: Job, credentials: Credentials) -> dict[str, float]:
    """CPU seconds of a step of a process of its own, and what it did."""
    work, opened = _timed(lambda: _opened(job, credentials))
    collected, batches = len(work.ledger.collected), len(work.ledger.records)
    _, seconds = _timed(work.step)
    return {
        "cpu_seconds": round(opened + seconds, 2),
        "collected": len(work.ledger.collected) - collected,
        "submitted": len(work.ledger.records) - batches,
    }


def _job(folder: Path, rows: int) -> Job:
    write_reviews(folder / "rows.parquet", rows, _CHARACTERS)
    batch = {"max_requests": _BATCH_ROWS, "canary_rows": 0, "poll_seconds": 1}
    return load_job(str(write_job(folder, folder / "rows.parquet", batch=batch)), {})


def _with_room(job: Job, tokens: float) -> Job:
    return job.model_copy(update={"batch": job.batch.model_copy(update={"enqueued_tokens": int(tokens)})})


def _plan(job: Job, credentials: Credentials) -> Run:
    return plan_run(job, credentials, Planning(_TODAY, overwrite=True, mode="batch"))


def _opened(job: Job, credentials: Credentials) -> BatchWork:
    return open_batches(job, credentials, lambda: _plan(job, credentials))


def _timed(act: Callable[[], T]) -> tuple[T, float]:
    began = time.process_time()
    return act(), time.process_time() - began


def _configure(base_url: str, **options: object) -> None:
    address = base_url.replace("/v1", "/_simulator/config")
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(address, json.dumps(options).encode(), headers), timeout=30):
        pass


def _wait_until_one_ends(job: Job, credentials: Credentials) -> None:
    provider_of = _opened(job, credentials)
    while all(
        (view := provider_of.provider.retrieve(record.batch_id)) is None or view.status != "completed"
        for record in provider_of.ledger.live
    ):
        time.sleep(0.5)
