"""Memory doesn't grow with the rows, and a run over a finished output ends in seconds.

`python -m benchmarks flat` runs 20,000 and then 200,000 rows and compares the peak memory of the processes, then runs the
finished 200,000 again: with its manifest, and without it, when the run has to look at every checkpoint.
"""

import sys
import tempfile
from pathlib import Path

from benchmarks.rig import Measured, prefect_server, provider, report, run_command, write_job, write_reviews


def main(small: str = "20000", large: str = "200000") -> None:
    """Measure both sizes, then the resumed run."""
    with (
        tempfile.TemporaryDirectory() as name,
        prefect_server(Path(name) / "prefect") as api_url,
        provider() as base_url,
    ):
        runs: dict[int, Measured] = {}
        for rows in (int(small), int(large)):  # in this order: the peak is the largest of all runs so far
            folder = Path(name) / str(rows)
            write_reviews(folder / "rows.parquet", rows)
            job = write_job(folder, folder / "rows.parquet")
            runs[rows] = run_command(job, base_url, api_url)
            report(f"flat/{rows}", peak_mb=runs[rows].peak_bytes // 10**6, seconds=round(runs[rows].seconds, 1))
        ratio = runs[int(large)].peak_bytes / runs[int(small)].peak_bytes
        report("flat", ratio=round(ratio, 3))
        again = run_command(job, base_url, api_url)
        report("resume/finished", sent=again.manifest["attempts"], seconds=round(again.seconds, 1))
        (folder / "output" / "_manifest.json").unlink()
        checked = run_command(job, base_url, api_url)
        report("resume/checkpoints", sent=checked.manifest["attempts"], seconds=round(checked.seconds, 1))


if __name__ == "__main__":
    main(*sys.argv[1:])
