"""Batches that `promptmill run --mode batch` began, and the steps that a person starts in the Prefect UI."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from promptmill.job.spec import Job
from promptmill.simulator import Simulator
from tests.support.billing import counter
from tests.support.commands import command, write_job
from tests.support.serving import KEY, client_of, ended, job_values


@pytest.mark.parametrize(
    "with_prefect", [pytest.param(True, id="flow-run"), pytest.param(False, id="without-a-server")]
)
async def test_a_step_from_the_ui_cancels_batches_that_the_command_line_began(
    with_prefect: bool,
    served: str,
    served_folder: Path,
    provider: Simulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    job = job_values(tmp_path, f"by-hand-{with_prefect}".lower())
    values = job if with_prefect else {name: value for name, value in job.items() if name != "provider"}
    path = write_job(Job.model_validate(values), tmp_path)
    monkeypatch.setenv("PROMPTMILL_STATE_URL", str(served_folder / "state"))
    provider.configure(batch_seconds=600.0)
    created, cancelled = (counter(provider, name) for name in ("batches_created", "batches_cancelled"))
    process = command(
        "run", path, "--mode", "batch", api_url=served if with_prefect else "", base_url=provider.base_url, key=KEY
    )
    try:
        await reached(lambda: counter(provider, "batches_created") > created)
    finally:
        process.kill()
        print(*process.communicate())
    async with client_of(served) as client:
        advance = await client.read_deployment_by_name("advance-batches/advance")
        parameters = {"action": "cancel", "job_name": job["name"]}
        step = await client.create_flow_run_from_deployment(advance.id, parameters=parameters)
        stepped = await ended(client, step)
        await reached(lambda: counter(provider, "batches_cancelled") > cancelled)
    provider.configure(batch_seconds=0.5)

    assert stepped.state_name == "Completed", stepped.state


async def reached(is_so: Callable[[], bool]) -> None:
    """Return once it is so."""
    until = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < until
        await asyncio.sleep(0.2)
