"""Megabytes and rows a second that a finished run publishes, from answers that are made up and not asked; and its memory.

`python -m benchmarks publishing [rows] [characters]` plans the rows, writes the answer files of all chunks, and publishes
them to the local disk, twice, in a process of its own; first a quarter of the rows, to see whether memory grows with them.
The bytes are those of the published columns in memory: texts, answers and what we add.
"""

import random
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from multiprocessing import get_context
from pathlib import Path

import orjson
import pyarrow.dataset as pads

from benchmarks.rig import WORDS, report, write_job, write_reviews
from promptmill.checkpoints.answer_files import answers_table
from promptmill.job.file import load_job
from promptmill.planning.estimate import estimate_run
from promptmill.planning.plan import Plan, needed_columns, plan_chunks
from promptmill.planning.prepared_job import Prepared, prepare
from promptmill.planning.rows import read_chunks, render_chunk
from promptmill.records import Completion, Request, Usage
from promptmill.runs.publish import publish
from promptmill.runs.totals import RunFacts

_ROWS = 400_000
_TURNS = 2


@dataclass(frozen=True, slots=True)
class _Turns:
    """What publishing the same rows again and again took."""

    seconds: list[float]
    cpu_seconds: list[float]
    peak_bytes: int
    published_bytes: int  # of the columns in memory


def main(rows: str = str(_ROWS), characters: str = "300") -> None:
    """Fill the checkpoints of two outputs and publish them."""
    with tempfile.TemporaryDirectory() as name:
        quarter = _publish_again(Path(name) / "quarter", int(rows) // 4, int(characters))
        whole = _publish_again(Path(name) / "whole", int(rows), int(characters))
    megabytes = whole.published_bytes / 1e6
    report(
        "publishing",
        rows=int(rows),
        megabytes=round(megabytes),
        megabytes_a_second=round(megabytes / min(whole.seconds)),
        megabytes_a_cpu_second=round(megabytes / min(whole.cpu_seconds)),
        rows_a_second=round(int(rows) / min(whole.seconds)),
        all_seconds=[round(taken, 2) for taken in whole.seconds],
        all_cpu_seconds=[round(taken, 2) for taken in whole.cpu_seconds],
        peak_mb=round(whole.peak_bytes / 2**20),
        peak_mb_of_a_quarter=round(quarter.peak_bytes / 2**20),
        memory_ratio=round(whole.peak_bytes / quarter.peak_bytes, 3),
    )


def _publish_again(folder: Path, rows: int, characters: int) -> _Turns:
    folder.mkdir()
    write_reviews(folder / "rows.parquet", rows, characters)
    job = write_job(folder, folder / "rows.parquet", chunk_rows=2_000)
    prepared = _prepared(job)
    plan = plan_chunks(prepared.dataset, prepared.builder, prepared.job)
    fill_checkpoints(prepared, plan)
    with ProcessPoolExecutor(1, get_context("spawn")) as alone:
        return alone.submit(_measure, job, plan).result()


def _prepared(job: Path) -> Prepared:
    return prepare(load_job(str(job), {}), datetime.now(UTC).date())


def _measure(job: Path, plan: Plan) -> _Turns:
    """Publish in this process, which has done nothing before."""
    prepared = _prepared(job)
    seconds, cpu_seconds = zip(*(_publish(prepared, plan) for _ in range(_TURNS)), strict=True)
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
    parts = pads.dataset(job.parent / "output", exclude_invalid_files=True).to_batches()
    return _Turns([*seconds], [*cpu_seconds], peak, sum(batch.nbytes for batch in parts))


def _publish(prepared: Prepared, plan: Plan) -> tuple[float, float]:
    """Seconds and CPU seconds of publishing once."""
    facts = RunFacts(datetime.now(UTC), estimate_run(prepared, plan))
    began, computed = time.monotonic(), time.process_time()
    publish(prepared, plan, facts)
    return time.monotonic() - began, time.process_time() - computed


def fill_checkpoints(prepared: Prepared, plan: Plan) -> None:
    """Keep a made-up answer for each row, in the files that finished chunks have."""
    job, chance = prepared.job, random.Random(7)
    columns = needed_columns(prepared.builder, job)
    for chunk, table in read_chunks(prepared.dataset, job, plan, plan.chunks, columns):
        rendered = render_chunk(prepared.builder, job, plan, chunk, table)
        answers = [made_up(row, chance) for row in rendered if isinstance(row, Request)]
        prepared.store.save_chunk(chunk.key, answers_table(answers), [])


def made_up(row: Request, chance: random.Random) -> Completion:
    """An answer that follows the benchmarks' response schema."""
    answer = {
        "label": chance.choice(["positive", "negative", "mixed"]),
        "confidence": round(chance.random(), 3),
        "reason": " ".join(chance.choices(WORDS, k=6)),
    }
    return Completion(
        custom_id=row.custom_id,
        response=orjson.dumps(answer).decode(),
        embedding=None,
        model="gpt-6-luna",
        finish_reason="stop",
        usage=Usage(row.input_tokens, 0, 20),
        cost_usd=Decimal("0.000016"),
        latency_seconds=chance.random(),
        attempts=1,
        response_id=f"chatcmpl-{row.custom_id[:24]}",
        answered_at=time.time(),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
