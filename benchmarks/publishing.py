"""Megabytes and rows a second that a finished run publishes, from answers that are made up and not asked.

`python -m benchmarks publishing [rows] [characters]` plans the rows, writes the answer files of all chunks, and publishes
them to the local disk, twice. The bytes are those of the published columns in memory: texts, answers and what we add.
"""

import random
import sys
import tempfile
import time
from datetime import UTC, datetime
from decimal import Decimal
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

_ROWS = 200_000
_TURNS = 2


def main(rows: str = str(_ROWS), characters: str = "300") -> None:
    """Fill the checkpoints and publish them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_reviews(folder / "rows.parquet", int(rows), int(characters))
        prepared = prepare(
            load_job(str(write_job(folder, folder / "rows.parquet", chunk_rows=2_000)), {}), datetime.now(UTC).date()
        )
        plan = plan_chunks(prepared.dataset, prepared.builder, prepared.job)
        fill_checkpoints(prepared, plan)
        seconds, cpu_seconds = zip(*(_publish(prepared, plan) for _ in range(_TURNS)), strict=True)
        published = pads.dataset(folder / "output", exclude_invalid_files=True).to_table().nbytes
        report(
            "publishing",
            rows=int(rows),
            megabytes=round(published / 1e6),
            megabytes_a_second=round(published / 1e6 / min(seconds)),
            megabytes_a_cpu_second=round(published / 1e6 / min(cpu_seconds)),
            rows_a_second=round(int(rows) / min(seconds)),
            all_seconds=[round(taken, 2) for taken in seconds],
            all_cpu_seconds=[round(taken, 2) for taken in cpu_seconds],
        )


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
