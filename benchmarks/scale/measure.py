"""What one chunk and one row cost, measured by small runs: the counts that the simulation can't find out by itself.

`python -m benchmarks scale measure` runs a job twice, with its output on SeaweedFS and under a Prefect server, both behind
proxies that note each request. The difference of the two runs, by the chunks that the second has more, is what a chunk
costs. It plans two inputs in processes of their own for the CPU and the memory of a row. The figures go into measured.py.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

from benchmarks.rig import prefect_server, provider, report, run_command, write_job, write_reviews
from benchmarks.slow_proxy import Seen, slow_proxy
from benchmarks.small_files import SECRETS, weed_server
from promptmill.storage import Storage

_CHUNKS = (4, 16)
_CHUNK_ROWS = 500
_LISTED = 4_000
_PLANNED = (1_200_000, 2_400_000)
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


def measure() -> None:
    """Measure all of it; about five minutes."""
    _measure_chunks()
    _measure_listing()
    _measure_planning()


def _measure_listing() -> None:
    """What a listing of many objects takes in this process: s3fs holds what it was told of each."""
    with tempfile.TemporaryDirectory() as name, weed_server(Path(name)) as weed:
        os.environ.update(SECRETS, AWS_ENDPOINT_URL=f"http://127.0.0.1:{weed}")
        storage = Storage("s3://lake/many/_checkpoints", None)
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(lambda number: storage.write(f"{number:032x}.parquet", b"x"), range(_LISTED)))
        tracemalloc.start()
        found = storage.sizes()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        began = time.process_time()
        again = storage.sizes()
        assert len(found) == len(again) == _LISTED
        report(
            "scale/measure/listing",
            peak_bytes_an_object=round(peak / _LISTED),
            cpu_seconds_a_thousand=round((time.process_time() - began) * 1_000 / _LISTED, 3),
        )


def _measure_chunks() -> None:
    with (
        tempfile.TemporaryDirectory() as name,
        weed_server(Path(name)) as weed,
        prefect_server(Path(name) / "prefect") as api_url,
        provider() as base_url,
        slow_proxy(weed, 0) as storage,
        slow_proxy(int(api_url.split(":")[2].split("/")[0]), 0) as server,
    ):
        os.environ.update(SECRETS, AWS_ENDPOINT_URL=f"http://127.0.0.1:{storage.port}")
        stored: list[Counter[str]] = []
        called: list[Counter[str]] = []
        for chunks in _CHUNKS:
            folder = Path(name) / str(chunks)
            write_reviews(folder / "rows.parquet", chunks * _CHUNK_ROWS)
            output = {"url": f"s3://lake/out-{chunks}"}
            job = write_job(folder, folder / "rows.parquet", output=output, chunk_rows=_CHUNK_ROWS)
            storage.lines.clear()
            server.lines.clear()
            run = run_command(job, base_url, f"http://127.0.0.1:{server.port}/api")
            assert run.exit_code == 0, run
            stored.append(_storage_kinds(storage))
            called.append(Counter(_ID.sub("ID", line.partition("?")[0]) for line in server.lines))
            report(
                f"scale/measure/{chunks}-chunks", seconds=round(run.seconds, 1), stored=stored[-1], called=called[-1]
            )
        more = _CHUNKS[1] - _CHUNKS[0]
        for title, (small, large) in {"storage": stored, "prefect": called}.items():
            slopes = {kind: round((large[kind] - small[kind]) / more, 2) for kind in {*small, *large}}
            report(
                f"scale/measure/{title}-requests-a-chunk", **{kind: slope for kind, slope in slopes.items() if slope}
            )


def _storage_kinds(seen: Seen) -> Counter[str]:
    """Requests as S3 bills them."""
    return Counter("LIST" if "list-type" in line else line.partition(" ")[0] for line in seen.lines)


def _measure_planning() -> None:
    small, large = (_planned(rows) for rows in _PLANNED)
    rows = _PLANNED[1] - _PLANNED[0]
    report(
        "scale/measure/planning",
        cpu_seconds_a_million=round((large["cpu_seconds"] - small["cpu_seconds"]) / rows * 1e6, 1),
        peak_bytes_a_row=round((large["peak_bytes"] - small["peak_bytes"]) / rows, 1),
        peak_mb=[round(each["peak_bytes"] / 1e6) for each in (small, large)],
    )


def _planned(rows: int) -> dict[str, float]:
    """What planning so many rows with an id column takes, in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "rows.parquet"
        write_reviews(path, rows)
        words = [sys.executable, "-m", "benchmarks.scale.measure", str(write_job(Path(name), path))]
        return json.loads(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout)


def plan_here(job: str) -> dict[str, float]:
    """CPU seconds and peak memory of this process, which plans a job."""
    from promptmill.job.file import load_job
    from promptmill.provider.transport import Credentials
    from promptmill.runs.run import Planning, plan_pending_run

    credentials = Credentials(api_key="x", base_url="http://127.0.0.1:9")
    began = time.process_time()
    plan_pending_run(load_job(job, {}), credentials, Planning(date(2026, 11, 24)))
    seconds = time.process_time() - began
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
    return {"cpu_seconds": seconds, "peak_bytes": peak}


if __name__ == "__main__":
    print(json.dumps(plan_here(sys.argv[1])))
