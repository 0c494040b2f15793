"""What the benchmarks share: a provider and a Prefect server in processes of their own, datasets, measured runs."""

import contextlib
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

WORDS = [
    "the",
    "battery",
    "lasts",
    "all",
    "day",
    "and",
    "charges",
    "fast",
    "but",
    "hinge",
    "feels",
    "loose",
    "after",
    "a",
    "week",
    "of",
    "use",
    "while",
    "screen",
    "is",
    "bright",
    "and",
    "colours",
    "are",
    "true",
    "to",
    "life",
    "support",
    "answered",
    "within",
    "hours",
    "and",
    "sent",
    "a",
    "new",
    "one",
    "without",
    "asking",
    "for",
    "the",
    "receipt",
    "price",
    "seems",
    "fair",
    "for",
    "what",
    "you",
    "get",
    "though",
    "delivery",
    "took",
    "longer",
    "than",
    "promised",
]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "label": {"type": "string", "enum": ["positive", "negative", "mixed"]},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "reason": {"type": "string"},
    },
    "required": ["label", "confidence", "reason"],
    "additionalProperties": False,
}
MODEL = "gpt-6-luna"


@dataclass(frozen=True, slots=True)
class Measured:
    """One command's run."""

    seconds: float
    cpu_seconds: float  # user and system, of the command and of no server
    peak_bytes: int
    exit_code: int
    manifest: dict[str, Any]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def get_json(url: str) -> Any:
    """The JSON that a local server answers."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def wait_for(url: str, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            get_json(url)
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


@contextlib.contextmanager
def process(*command: str, log: Path | None = None, **environment: str) -> Generator[subprocess.Popen[bytes]]:
    """A program that runs until the block ends; what it prints goes to `log`."""
    with contextlib.ExitStack() as files:
        out = subprocess.DEVNULL if log is None else files.enter_context(log.open("wb"))
        running = subprocess.Popen(command, env={**os.environ, **environment}, stdout=out, stderr=out)
        try:
            yield running
        finally:
            running.send_signal(signal.SIGTERM)
            try:
                running.wait(20)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


@contextlib.contextmanager
def provider(**options: object) -> Generator[str]:
    """The simulator in a process of its own; yields its base URL."""
    port = free_port()
    flags = [word for name, value in options.items() for word in ("--option", f"{name}={value}")]
    with process(sys.executable, "-m", "promptmill.simulator", "--port", str(port), *flags):
        wait_for(f"http://127.0.0.1:{port}/_simulator/ledger")
        yield f"http://127.0.0.1:{port}/v1"


@contextlib.contextmanager
def prefect_server(home: Path, log: Path | None = None, **environment: str) -> Generator[str]:
    """A Prefect server in a process of its own; yields its API's URL. What it prints goes to `log`."""
    port = free_port()
    settings = {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", **environment}
    command = ("-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui")
    with process(sys.executable, *command, log=log, **settings):
        wait_for(f"http://127.0.0.1:{port}/api/health")
        yield f"http://127.0.0.1:{port}/api"


def write_reviews(path: Path, rows: int, characters: int = 300, seed: int = 7) -> None:
    """A file of texts of about so many characters: .csv, .jsonl, or Parquet in row groups of 10,000."""
    chance = random.Random(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([("id", pa.int64()), ("text", pa.string())])
    with _open_table(path, schema) as write:
        for start in range(0, rows, 10_000):
            numbers = range(start, min(rows, start + 10_000))
            texts = [f"{number} {' '.join(chance.choices(WORDS, k=characters // 6))}" for number in numbers]
            write(pa.table({"id": list(numbers), "text": texts}, schema=schema))


@contextlib.contextmanager
def _open_table(path: Path, schema: pa.Schema) -> Generator[Callable[[pa.Table], object]]:
    """Writes tables to a file of the kind that its name says."""
    if path.suffix == ".jsonl":
        with path.open("w") as lines:
            yield lambda table: lines.writelines(f"{json.dumps(row)}\n" for row in table.to_pylist())
    elif path.suffix == ".csv":
        with pacsv.CSVWriter(path, schema) as writer:
            yield writer.write
    else:
        with pq.ParquetWriter(path, schema) as writer:
            yield writer.write_table


def write_job(folder: Path, rows: Path, **changes: object) -> Path:
    """A job file over these rows; `changes` replace whole sections."""
    job: dict[str, Any] = {
        "name": "benchmark",
        "input": {"url": str(rows), "id_column": "id"},
        "request": {
            "model": MODEL,
            "system": "You label reviews.",
            "user": "Review: {{ text }}",
            "response_schema": SCHEMA,
            "parameters": {"max_completion_tokens": 64},
        },
        "output": {"url": str(folder / "output")},
        "limits": {"max_concurrency": 100},
    }
    job.update(changes)
    path = folder / "job.yaml"
    path.write_text(json.dumps(job))
    return path


def run_command(job: Path, base_url: str, api_url: str, *flags: str) -> Measured:
    """`promptmill run JOB` in a process of its own, measured."""
    environment = {
        **os.environ,
        "OPENAI_BASE_URL": base_url,
        "OPENAI_API_KEY": "benchmark",
        "PREFECT_API_URL": api_url,
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "flows", "run", str(job), "--json", *flags], env=environment, stdout=subprocess.PIPE
    )
    output, _ = process.communicate()
    seconds = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    lines = output.decode().strip().splitlines()
    manifest = json.loads(lines[-1]) if lines else {}
    return Measured(seconds, cpu, _peak_bytes(after.ru_maxrss), process.returncode, manifest)


def _peak_bytes(kibibytes: int) -> int:
    """The largest of all children so far; runs are measured smallest first."""
    return kibibytes * 1024


REPORTED: list[dict[str, Any]] = []  # every line of this process


def report(name: str, **figures: object) -> None:
    """One line of JSON for each benchmark, to be kept and compared."""
    REPORTED.append({"benchmark": name, **figures})
    print(json.dumps(REPORTED[-1]), flush=True)
