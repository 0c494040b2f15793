"""Runs that nobody carries out any more: what the server does with them by itself."""

import asyncio
import time
from pathlib import Path
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import PrefectClient
from prefect.events import Event, RelatedResource, Resource
from prefect.events.clients import PrefectEventsClient
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Running, Scheduled, Suspended

from promptmill.simulator import Simulator
from tasks.server.automations import FLOWS, dead_runs, silence_seconds
from tests.support.serving import client_of, ended, job_values, message_of, sent, start

SILENCE_SECONDS = 15
OF_FLOW = RelatedResource(
    {"prefect.resource.id": "prefect.flow.1", "prefect.resource.role": "flow", "prefect.resource.name": FLOWS[0]}
)


@flow(name=FLOWS[0])
def nothing() -> None:
    """A flow of which only the runs' states matter; named as one of ours, since no others are taken for dead."""


async def beat(api_url: str, *runs: UUID) -> None:
    """A heartbeat of each run, as its process sends it."""
    async with PrefectEventsClient(api_url) as events:
        for run in runs:
            resource = Resource({"prefect.resource.id": f"prefect.flow-run.{run}"})
            await events.emit(Event(event="prefect.flow-run.heartbeat", resource=resource, related=[OF_FLOW]))


async def make_runs(client: PrefectClient, count: int) -> list[UUID]:
    """Runs that say that they are under way."""
    return [(await client.create_flow_run(nothing, state=Running())).id for _ in range(count)]


async def test_only_a_run_that_was_under_way_and_fell_silent_is_taken_for_dead(served: str):
    async with client_of(served) as client:
        dead, alive, suspended, again = runs = await make_runs(client, 4)
        late = (await client.create_flow_run(nothing, state=Scheduled())).id
        automation = dead_runs(SILENCE_SECONDS, [f"prefect.flow-run.{run}" for run in (*runs, late)])
        automation.name = "dead-runs-of-this-test"
        automation = await automation.acreate()
        await asyncio.sleep(2)  # until the server has heard of it
        await beat(served, *runs)
        await asyncio.sleep(2)  # until it has heard these too, and not after the states that follow
        await client.set_flow_run_state(suspended, Suspended(timeout_seconds=600), force=True)
        await client.set_flow_run_state(again, Scheduled(name="AwaitingRetry"), force=True)
        until = time.monotonic() + 2 * SILENCE_SECONDS
        while (await client.read_flow_run(dead)).state_name != "Crashed":
            assert time.monotonic() < until
            await beat(served, alive)
            await asyncio.sleep(1)
        for _ in range(6):  # the others, of the same age, had their turn
            await beat(served, alive)
            await asyncio.sleep(1)
        found = {run: (await client.read_flow_run(run)).state_name for run in (*runs, late)}
        await automation.adelete()

    assert found == {
        dead: "Crashed",
        alive: "Running",
        suspended: "Suspended",
        again: "AwaitingRetry",
        late: "Late",
    }


@pytest.mark.parametrize(
    ("given", "silence"),
    [
        pytest.param(180, 540, id="prefects-default"),
        pytest.param(30, 90, id="shorter"),
        pytest.param(None, 540, id="switched-off-here"),
    ],
)
def test_silence_is_measured_in_prefects_own_heartbeats(given: int | None, silence: int):
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: given}):
        assert silence_seconds() == silence


async def test_a_run_that_nobody_approves_in_time_fails_and_says_why(served: str, provider: Simulator, tmp_path: Path):
    job = {**job_values(tmp_path, "unanswered"), "approve_above_usd": "0.000001", "approve_within_seconds": 2}
    before = sent(provider)
    async with client_of(served) as client:
        run = await start(client, "online-inference/online", job)
        await ended(client, run)
        until = time.monotonic() + 20
        while "approve" not in message_of(found := await client.read_flow_run(run.id)):
            assert time.monotonic() < until, found.state
            await asyncio.sleep(0.5)

    assert found.state_name == "Failed"
    assert "Nobody approved the run in time" in message_of(found)
    assert sent(provider) == before
