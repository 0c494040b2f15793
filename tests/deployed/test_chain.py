"""Chains of flows: an upstream flow starts ours in each of the ways that prefect.yaml knows, and ours starts another."""

import asyncio
import json
import os
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.events import DeploymentEventTrigger

import promptmill
from examples.chain.upstream import TEXTS
from promptmill.simulator import Simulator
from tests.support.paths import ROOT
from tests.support.serving import client_of, ended, sent, told_events

OURS, NEXT = "online-inference/on-dataset", "count-answers/after-chain"


def carry_out(api_url: str, *words: str) -> None:
    """A command that a person types, on the served Promptmill."""
    settings = {"PREFECT_API_URL": api_url, "PROMPTMILL_WORK_POOL": "promptmill", "PROMPTMILL_HOME": str(ROOT)}
    subprocess.run([sys.executable, *words], cwd=ROOT, env={**os.environ, **settings}, check=True, timeout=120)


def chain_job(path: Path, folder: str) -> Path:
    """The example's job, over a folder of the test's own."""
    job = yaml.safe_load((ROOT / "examples/chain/job.yaml").read_text())
    job["input"]["url"] = f"{folder}/in/"
    job["output"]["url"] = f"{folder}/out/{{{{ input_name }}}}/"
    path.write_text(yaml.safe_dump(job))
    return path


def shipped_trigger(name: str, **changes: Any) -> DeploymentEventTrigger:
    """A trigger of prefect.yaml as a user switches it on, with the name of a flow or an asset of their own."""
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    triggers = [trigger for one in deployments for trigger in one.get("triggers", []) if trigger["name"] == name]
    return DeploymentEventTrigger.model_validate({**triggers[0], "enabled": True, **changes})


async def runs_of(client: PrefectClient, deployment: str, count: int) -> list[FlowRun]:
    """The runs of a deployment, once there are so many."""
    wanted, until = (await client.read_deployment_by_name(deployment)).id, time.monotonic() + 120
    chosen = DeploymentFilter(id=DeploymentFilterId(any_=[wanted]))
    while len(runs := await client.read_flow_runs(deployment_filter=chosen)) < count:
        assert time.monotonic() < until, runs
        await asyncio.sleep(0.5)
    return runs


@pytest.fixture
def folder(s3_folder: str) -> str:
    """A folder of its own in the bucket."""
    return s3_folder


async def set_up(client: PrefectClient, job: Path, folder: str) -> list[UUID]:
    """What a user changes in the UI: credentials of the bucket, the job, and two triggers that need a name of theirs.

    Returns the automations that were made.
    """
    env = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    following, ours = [await client.read_deployment_by_name(name) for name in (NEXT, OURS)]
    await client.update_deployment(following.id, DeploymentUpdate(job_variables={"env": env}))
    update = DeploymentUpdate(parameters={"job_url": str(job)}, job_variables={"env": env})
    await client.update_deployment(ours.id, update)
    flow = {"prefect.resource.name": "publish-reviews", "prefect.resource.role": "flow"}
    triggers = (
        shipped_trigger("promptmill-on-upstream-flow", match_related=flow),
        shipped_trigger("promptmill-on-asset", match={"prefect.resource.id": f"{folder}/in/*"}),
    )
    for trigger in triggers:
        trigger.set_deployment_id(ours.id)
    return [await client.create_automation(trigger.as_automation()) for trigger in triggers]


async def clean_up(client: PrefectClient, automations: list[UUID]) -> None:
    """Leave the served Promptmill as it was deployed."""
    for one in automations:
        await client.delete_automation(one)
    await client.delete_deployment((await client.read_deployment_by_name(NEXT)).id)


async def test_an_upstream_flow_starts_our_run_in_each_way_and_our_run_starts_the_next_flow(
    served: str, provider: Simulator, folder: str, tmp_path: Path
):
    dataset, before = f"{folder}/in/today.parquet", sent(provider)
    job = chain_job(tmp_path / "job.yaml", folder)
    deploy = ("-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", "examples/chain/prefect.yaml")
    await asyncio.to_thread(carry_out, served, *deploy)
    async with client_of(served) as client:
        automations = await set_up(client, job, folder)
        await asyncio.sleep(3)  # until the server has heard of them
        await asyncio.to_thread(carry_out, served, "-m", "examples.chain.upstream", dataset)
        ours = [await ended(client, one) for one in await runs_of(client, OURS, 3)]
        following = [await ended(client, one) for one in await runs_of(client, NEXT, 3)]
        told = await told_events(client, "prefect.asset.materialization.succeeded", f"{folder}/out/today")
        shown = await client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["answers"])))
        await clean_up(client, automations)

    given = {one.created_by.display_value: one.parameters for one in ours if one.created_by is not None}
    assert {one.state_name for one in (*ours, *following)} == {"Completed"}
    assert given == {
        "promptmill-on-dataset-published": {"job_url": str(job), "overrides": {"input.url": dataset}},
        "promptmill-on-asset": {"job_url": str(job), "overrides": {"input.url": dataset}},
        "promptmill-on-upstream-flow": {"job_url": str(job)},
    }
    outputs = {f"{folder}/out/today", f"{folder}/out/in"}
    assert {one.parameters["manifest_url"].removesuffix("/_manifest.json") for one in following} == outputs
    assert all(list(promptmill.read(url)["text"]) == list(TEXTS) for url in outputs)
    assert {sum(row["rows"] for row in json.loads(str(one.data))) for one in shown} == {len(TEXTS)}
    assert sent(provider) - before == len(outputs) * len(TEXTS)
    assert {name: told[0].payload[name] for name in ("rows", "succeeded", "manifest_url")} == {
        "rows": len(TEXTS),
        "succeeded": len(TEXTS),
        "manifest_url": f"{folder}/out/today/_manifest.json",
    }
    assert Decimal(told[0].payload["cost_usd"]) > 0
