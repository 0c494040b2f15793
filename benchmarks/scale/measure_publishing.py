"""What publishing a row costs, and what Prefect's database keeps of a chunk.

`python -m benchmarks scale publishing` answers two inputs, removes the manifest and runs each job again: that run plans,
reads every checkpoint and publishes, and asks the provider nothing.
"""

import tempfile
from pathlib import Path

from benchmarks.rig import prefect_server, provider, report, run_command, write_job, write_reviews

_ROWS = (5_000, 20_000)
_CHUNK_ROWS = 250


def measure_publishing() -> None:
    """Measure both."""
    seconds: list[float] = []
    sizes: list[int] = []
    with (
        tempfile.TemporaryDirectory() as name,
        prefect_server(Path(name) / "prefect") as api_url,
        provider() as base_url,
    ):
        for rows in _ROWS:
            folder = Path(name) / str(rows)
            write_reviews(folder / "rows.parquet", rows)
            job = write_job(folder, folder / "rows.parquet", chunk_rows=_CHUNK_ROWS)
            before = _database_bytes(Path(name))
            answered = run_command(job, base_url, api_url)
            sizes.append(_database_bytes(Path(name)) - before)
            (folder / "output/_manifest.json").unlink()
            again = run_command(job, base_url, "")
            assert (answered.exit_code, again.exit_code, again.manifest["attempts"]) == (0, 0, 0), again
            seconds.append(again.cpu_seconds)
    rows = _ROWS[1] - _ROWS[0]
    report(
        "scale/measure/publishing",
        cpu_seconds_a_million=round((seconds[1] - seconds[0]) / rows * 1e6, 1),  # of planning, reading and publishing
        database_bytes_a_chunk=round((sizes[1] - sizes[0]) / rows * _CHUNK_ROWS),
    )


def _database_bytes(folder: Path) -> int:
    """The size of sqlite's file and its log."""
    return sum(path.stat().st_size for path in (folder / "prefect").glob("prefect.db*"))
