"""Runs by the Batch API: memory doesn't grow with the rows, and packing keeps up.

`python -m benchmarks batch` runs 20,000 and then 200,000 rows by batches and compares the peak memory of the processes.
`python -m benchmarks pack` packs small rows into batch files, rendering and token counting included, on one core.
"""

import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from benchmarks.rig import Measured, prefect_server, provider, report, run_command, write_job, write_reviews
from promptmill.batch.exchange import export_batches
from promptmill.job.file import load_job
from promptmill.provider.transport import Credentials
from promptmill.runs.run import Planning, plan_pending_run


def main(small: str = "20000", large: str = "200000") -> None:
    """Measure both sizes."""
    with (
        tempfile.TemporaryDirectory() as name,
        prefect_server(Path(name) / "prefect") as api_url,
        provider(batch_seconds=5, track_bodies="false") as base_url,
    ):
        runs: dict[int, Measured] = {}
        for rows in (int(small), int(large)):  # in this order: the peak is the largest of all runs so far
            folder = Path(name) / str(rows)
            write_reviews(folder / "rows.parquet", rows)
            job = write_job(folder, folder / "rows.parquet", batch={"poll_seconds": 1})
            runs[rows] = run_command(job, base_url, api_url, "--mode", "batch")
            sent = runs[rows].manifest["requests_sent"]
            peak, seconds = runs[rows].peak_bytes // 10**6, round(runs[rows].seconds, 1)
            report(f"batch/{rows}", sent=sent, peak_mb=peak, seconds=seconds)
        report("batch", ratio=round(runs[int(large)].peak_bytes / runs[int(small)].peak_bytes, 3))


def pack(rows: str = "200000", characters: str = "100") -> None:
    """Measure how many rows a CPU second we pack into batch files on the disk, and how many we only plan."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_reviews(folder / "rows.parquet", int(rows), int(characters))
        job = load_job(str(write_job(folder, folder / "rows.parquet", input={"url": str(folder / "rows.parquet")})), {})
        began = time.process_time()
        run = plan_pending_run(
            job, Credentials(api_key="x", base_url="http://127.0.0.1:9"), Planning(date(2026, 11, 24), mode="batch")
        )
        planned = time.process_time()
        files = export_batches(run, folder / "files")
        packed = time.process_time()
        report(
            "pack",
            rows=int(rows),
            files=len(files),
            megabytes=round(sum(path.stat().st_size for path in files) / 1e6, 1),
            packed_rows_a_cpu_second=round(int(rows) / (packed - planned)),
            planned_rows_a_cpu_second=round(int(rows) / (planned - began)),
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
