"""Rows that a CPU second plans, beside pyarrow's own scan of the same file, and beside an earlier version of Promptmill.

`python -m benchmarks reading [CHECKOUT] [rows]` plans Parquet, CSV, JSONL and Parquet with 40 carried columns. CHECKOUT is
the folder of another version, such as `git worktree add --detach /tmp/before a7c91de` makes; both take turns, each turn in a
process of its own. A CPU second is one of the process, in user mode, from opening the input to the end of the plan; what
Python and the imports take isn't counted.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from benchmarks.rig import WORDS, report, write_reviews

ROWS = 200_000
_TURNS = 3
_COLUMNS = 40
_WIDE_PART = 4  # of the rows, so many have the 40 columns besides

PLAN = """
import json, sys, time, resource
from datetime import date
try:
    from promptmill.job.file import load_job
    from promptmill.planning.prepared_job import prepare
    from promptmill.planning.plan import plan_chunks
except ImportError:  # as the modules were called before 2026-11-26
    from promptmill.jobfile import load_job
    from promptmill.prepared import prepare
    from promptmill.plan import plan_chunks

job, warm = (load_job(path, {}) for path in sys.argv[1:3])
def plan(job):
    began = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    made = prepare(job, date(2026, 11, 24))
    rows = plan_chunks(made.dataset, made.builder, job).rows
    return rows, resource.getrusage(resource.RUSAGE_SELF).ru_utime - began
plan(warm)
print(json.dumps(plan(job)))
"""

SCAN = """
import json, sys, resource
import pyarrow.csv, pyarrow.json, pyarrow.parquet
path, column = sys.argv[1:3]
read = {
    "parquet": lambda: pyarrow.parquet.read_table(path, use_threads=False),
    "csv": lambda: pyarrow.csv.read_csv(path, pyarrow.csv.ReadOptions(use_threads=False)),
    "jsonl": lambda: pyarrow.json.read_json(path, pyarrow.json.ReadOptions(use_threads=False)),
}[path.rpartition(".")[2]]
began = resource.getrusage(resource.RUSAGE_SELF).ru_utime
rows = read().num_rows
print(json.dumps([rows, resource.getrusage(resource.RUSAGE_SELF).ru_utime - began]))
"""

RENDER = """
import json, sys, resource
from datetime import date
from promptmill.job.file import load_job
from promptmill.planning.prepared_job import prepare
from promptmill.planning.rendering import render_table, row_ids

job = load_job(sys.argv[1], {})
made = prepare(job, date(2026, 11, 24))
table = next(made.dataset.read(10_000, {"id", "text"}))
render_table(made.builder, table.slice(0, 500), row_ids(table.slice(0, 500), "id", range(500)), 0)
began = resource.getrusage(resource.RUSAGE_SELF).ru_utime
for start in range(0, table.num_rows, 500):
    part = table.slice(start, 500)
    render_table(made.builder, part, row_ids(part, "id", range(start, start + part.num_rows)), start)
print(json.dumps([table.num_rows, resource.getrusage(resource.RUSAGE_SELF).ru_utime - began]))
"""


def main(before: str = "", rows: str = str(ROWS)) -> None:
    """Measure every kind of file in turns."""
    here = str(Path(__file__).parents[1])
    with tempfile.TemporaryDirectory() as name:
        files = write_inputs(Path(name), int(rows))
        warm = _job(Path(name), write_inputs(Path(name) / "warm", 2_000)["parquet"])
        for kind, file in files.items():
            job = _job(Path(name), file)
            figures: dict[str, list[float]] = {}
            for _ in range(_TURNS):
                turn = {"now": _speed(here, PLAN, job, warm), "scan": _speed(here, SCAN, file, "text")}
                turn |= {"render": _speed(here, RENDER, job)} | (
                    {"before": _speed(before, PLAN, job, warm)} if before else {}
                )
                for what, speed in turn.items():
                    figures.setdefault(what, []).append(speed)
            _report(kind, figures)


def _report(kind: str, figures: dict[str, list[float]]) -> None:
    best = {what: max(speeds) for what, speeds in figures.items()}
    scan_and_render = 1 / (1 / best["scan"] + 1 / best["render"])
    report(
        f"reading/{kind}",
        planned_rows_a_cpu_second=round(best["now"]),
        of_scan_and_rendering=round(best["now"] / scan_and_render, 2),
        **({"of_before": round(best["now"] / best["before"], 2)} if "before" in best else {}),
        turns={what: [round(speed) for speed in speeds] for what, speeds in figures.items()},
    )


def write_inputs(folder: Path, rows: int) -> dict[str, Path]:
    """The same reviews as Parquet, CSV and JSONL, and a part of them with 40 more columns."""
    write_reviews(folder / "rows.parquet", rows)
    table = pq.read_table(folder / "rows.parquet")
    pacsv.write_csv(table, folder / "rows.csv")
    with (folder / "rows.jsonl").open("w") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in table.to_pylist())
    wide = table.slice(0, rows // _WIDE_PART)
    for number in range(_COLUMNS):
        wide = wide.append_column(f"carried_{number}", _values(number, wide.num_rows))
    pq.write_table(wide, folder / "wide.parquet", row_group_size=10_000)
    paths = {kind: folder / f"rows.{kind}" for kind in ("parquet", "csv", "jsonl")}
    return {**paths, "wide": folder / "wide.parquet"}


def _values(number: int, rows: int) -> pa.Array:
    """A carried column: texts of three words, whole numbers, decimals or flags."""
    chance = random.Random(number)
    makers: list[Any] = [
        lambda: " ".join(chance.choices(WORDS, k=3)),
        lambda: chance.randrange(10**6),
        chance.random,
        lambda: chance.random() < 0.5,
    ]
    return pa.array([makers[number % len(makers)]() for _ in range(rows)])


def _job(folder: Path, file: Path) -> Path:
    job = {
        "name": "reading",
        "input": {"url": str(file), "id_column": "id"},
        "request": {"model": "gpt-6-luna", "user": "Review: {{ text }}"},
        "output": {"url": str(folder / "output")},
    }
    path = folder / f"{file.name}-{file.parent.name}.yaml"
    path.write_text(json.dumps(job))
    return path


def _speed(checkout: str, source: str, *arguments: object) -> float:
    """Rows a CPU second of a program that prints both."""
    done = subprocess.run(
        [sys.executable, "-c", source, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": checkout},
        cwd=checkout,
        check=True,
        stdout=subprocess.PIPE,
    )
    rows, seconds = json.loads(done.stdout)
    return rows / seconds


if __name__ == "__main__":
    main(*sys.argv[1:])
