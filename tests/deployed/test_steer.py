"""A run is told what to do from the Prefect UI: paused, made faster, stopped; by a deployment."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient

import promptmill
from promptmill.allowed_urls import URLS_SETTING
from promptmill.simulator import Simulator
from tests.support.serving import client_of, ended, job_values, reached, sent, start

pytestmark = pytest.mark.xdist_group("deployments")


async def tell(client: PrefectClient, action: str, **parameters: Any) -> str:
    """What a run of `steer` says once it has ended, as its state."""
    deployment = await client.read_deployment_by_name("steer/steer")
    run = await client.create_flow_run_from_deployment(deployment.id, parameters={"action": action, **parameters})
    found = await ended(client, run)
    assert found.state is not None
    return f"{found.state_name}: {found.state.message}"


async def test_a_deployed_run_is_paused_set_and_stopped_by_a_deployment(
    served: str, provider: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URLS_SETTING, str(tmp_path))  # the worker's home, and so its seal, isn't this process's
    provider.configure(latency_seconds=0.5)
    job = {**job_values(tmp_path, "steered", rows=400), "limits": {"max_concurrency": 4}}
    output = {"output_url": job["output"]["url"]}
    async with client_of(served) as client:
        run = await reached(client, await start(client, "online-inference/online", job), "Running")
        began = sent(provider)
        while sent(provider) < began + 8:
            await asyncio.sleep(0.2)
        paused = await tell(client, "pause", **output)
        before = sent(provider)
        misspelt = await tell(client, "set", **output, values={"limits.max_concurency": 20})
        changed = await tell(client, "set", **output, values={"limits.max_concurrency": 20})
        still = sent(provider)
        stopped = await tell(client, "stop", **output)
        found = await ended(client, run)

    assert (paused[:9], changed[:9], stopped[:9]) == ("Completed", "Completed", "Completed")
    assert misspelt.startswith("Failed")
    assert "Did you mean 'limits.max_concurrency'?" in misspelt
    assert still == before
    assert found.state_name == "Cancelled"
    assert found.state is not None and found.state.message is not None
    assert "The run was stopped by the flow run " in found.state.message
    assert 0 < len(promptmill.read(output["output_url"], partial=True)) < 400
