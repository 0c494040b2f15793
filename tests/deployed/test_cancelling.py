"""A run that is cancelled in the UI: no request after it, every answer that was paid for kept."""

import asyncio
import json
import time
from pathlib import Path

import pytest
from prefect.states import Cancelling

from promptmill.simulator import Simulator
from tests.support.serving import client_of, ended, job_values, sent, start, told_events

ROWS, CONCURRENCY, ANSWER_SECONDS = 400, 20, 2.0


@pytest.mark.usefixtures("cold")
async def test_a_cancelled_run_sends_nothing_more_and_keeps_every_answer_on_its_way(
    served: str, provider: Simulator, tmp_path: Path
):
    job = {**job_values(tmp_path, "cancelled", ROWS), "chunk_rows": 100, "limits": {"max_concurrency": CONCURRENCY}}
    provider.configure(latency_seconds=ANSWER_SECONDS)
    before = sent(provider)
    async with client_of(served) as client:
        run = await start(client, "online-inference/online", job)
        until = time.monotonic() + 60
        while sent(provider) < before + 3 * CONCURRENCY:
            assert time.monotonic() < until
            await asyncio.sleep(0.1)
        await client.set_flow_run_state(run.id, Cancelling())
        await asyncio.sleep(4)
        paid = sent(provider)
        done = await ended(client, run)
        paid_at_end = sent(provider)
        events = await told_events(client, "promptmill.job.cancelled", run)
        provider.configure(latency_seconds=0.0)
        again = await ended(client, await start(client, "online-inference/online", job))
    manifest = json.loads((Path(job["output"]["url"]) / "_manifest.json").read_bytes())

    assert (done.state_name, again.state_name) == ("Cancelled", "Completed")
    assert paid_at_end == paid
    assert manifest["reused"] == events[0].payload["rows"] == paid - before
    assert sent(provider) - before == ROWS
