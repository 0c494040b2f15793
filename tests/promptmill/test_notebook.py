"""A notebook gives a frame and gets frames, interrupts a run and sees a bar; what only a flow can do is refused."""

import importlib
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

import promptmill
from promptmill.errors import SetupError
from promptmill.simulator import Simulator
from tests.support.paths import ROOT


@pytest.mark.parametrize(
    ("name", "value"),
    [("provider", "openai"), ("approve_above_usd", "5"), ("shards", 2), ("task_runner", "dask")],
)
def test_a_job_that_needs_prefect_is_refused_before_anything_is_sent(
    tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, name: str, value: Any
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_BASE_URL", simulator.base_url)
    job = {"name": "noted", "request": {"model": "gpt-6-luna", "user": "{{ text }}"}, "output": {"url": str(tmp_path)}}

    with pytest.raises(SetupError, match=rf"the job has {name}.*promptmill run"):
        promptmill.run(pd.DataFrame({"text": ["a"]}), {**job, name: value})

    assert simulator.ledger()["counters"]["attempts"] == 0


def test_run_stays_a_function_after_its_room_is_imported():
    importlib.import_module("promptmill.runs.run")

    assert callable(promptmill.run)
    assert promptmill.run.__module__ == "promptmill.notebook"


INTERRUPTED_CELL = """
import asyncio, logging, sys
import pandas as pd
import promptmill

logging.basicConfig(level=logging.WARNING)
frame = pd.DataFrame({"text": [f"text {i}" for i in range(200)]})
job = {"name": "noted", "request": {"model": "gpt-6-luna", "user": "{{ text }}"}, "output": {"url": sys.argv[1]},
       "limits": {"max_concurrency": 5}}

async def cell():
    promptmill.run(frame, job)

def plain():
    promptmill.run(frame, job)

try:
    asyncio.run(cell()) if sys.argv[2] == "loop" else plain()
except KeyboardInterrupt as interrupt:
    print("KeyboardInterrupt:", interrupt)
    print("handler is back:", __import__("signal").getsignal(2) is __import__("signal").default_int_handler)
"""


def start_cell(simulator: Simulator, output: Path, kind: str) -> "subprocess.Popen[str]":
    """A process that runs a cell, once its first rows are asked for."""
    simulator.configure(latency_seconds=0.3)
    environment = {**os.environ, "OPENAI_API_KEY": "test", "OPENAI_BASE_URL": simulator.base_url}
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED_CELL, str(output), kind],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 60
    while simulator.ledger()["totals"].get("requests", 0) < 10:
        assert process.poll() is None and time.monotonic() < until, process.communicate()
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("kind", ["loop", "plain"])
def test_an_interrupted_cell_ends_within_seconds_and_keeps_its_answers(kind: str, simulator: Simulator, tmp_path: Path):
    """With a running event loop, as Jupyter has one, and without."""
    process = start_cell(simulator, tmp_path / "out", kind)
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=15)

    sent = simulator.ledger()["totals"]["requests"]
    stored = sum(pq.read_metadata(path).num_rows for path in (tmp_path / "out" / "_checkpoints").rglob("*.parquet"))
    assert "KeyboardInterrupt: The run was interrupted. All that was answered is kept" in said, errors
    assert "handler is back: True" in said
    assert sent < 100
    assert stored == sent


def test_a_second_interrupt_of_a_cell_waits_for_nothing(simulator: Simulator, tmp_path: Path):
    process = start_cell(simulator, tmp_path / "out", "loop")
    simulator.configure(latency_seconds=30)
    time.sleep(1)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    said = process.stdout.readline()

    assert said.startswith("KeyboardInterrupt:")
    assert time.monotonic() - began < 5
    process.kill()
    process.communicate()


class KernelStream(io.StringIO):
    """Standard error as Jupyter's kernel replaces it."""

    __module__ = "ipykernel.iostream"


def test_a_notebook_shows_a_bar(simulator: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_BASE_URL", simulator.base_url)
    stream = KernelStream()
    monkeypatch.setattr(sys, "stderr", stream)
    job = {"name": "noted", "request": {"model": "gpt-6-luna", "user": "{{ text }}"}, "output": {"url": str(tmp_path)}}
    promptmill.run(pd.DataFrame({"text": ["a", "b"]}), job)

    assert f"\r{'█' * 24} rows 2 of 2" in stream.getvalue()
    assert stream.getvalue().endswith("\n")
