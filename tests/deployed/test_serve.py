"""`make serve` ended from its terminal: nothing of it is left, and a run under way has kept its answers."""

import asyncio
import os
import signal
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow.parquet as pq
import pytest

from promptmill.simulator import Simulator
from tests.support.serving import client_of, job_values, processes_with, sent, serve_process, start


@pytest.mark.xdist_group("outages")
async def test_ctrl_c_leaves_no_process_no_port_and_no_answer_behind(tmp_path: Path, own_provider: Simulator):
    job = {**job_values(tmp_path, "under-way", 400), "chunk_rows": 100, "limits": {"max_concurrency": 5}}
    own_provider.configure(latency_seconds=2.0)
    before = sent(own_provider)
    with serve_process(tmp_path, own_provider) as (process, api_url):
        async with client_of(api_url) as client:
            await start(client, "online-inference/online", job)
            until = time.monotonic() + 60
            while sent(own_provider) < before + 10:
                assert time.monotonic() < until
                await asyncio.sleep(0.1)
        there = processes_with("PREFECT_HOME", str(tmp_path / "prefect"))
        os.killpg(process.pid, signal.SIGINT)
        code = process.wait(40)
        left = processes_with("PREFECT_HOME", str(tmp_path / "prefect"))
    kept = (tmp_path / "under-way-out" / "_checkpoints").rglob("*.parquet")

    assert len(there) >= 4  # itself, server, worker, run
    assert (code, left) == (0, [])
    assert sum(pq.read_metadata(path).num_rows for path in kept) == sent(own_provider) - before
    with socket.socket() as port:
        port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port.bind(("127.0.0.1", urlsplit(api_url).port or 0))
