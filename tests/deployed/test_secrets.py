"""The provider's key is nowhere but in its block, whatever becomes of a run, and goes nowhere but to its provider."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.events.filters import EventFilter

import promptmill
from promptmill.errors import PromptmillError
from promptmill.job.spec import Job
from promptmill.simulator import Simulator
from tasks.run.plan import resolve_job
from tests.support.serving import KEY, client_of, ended, job_values, message_of, start, told_events

ELSEWHERE = "http://127.0.0.1:9/v1"


def contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """All that is in the files of a folder, unpacked where it is packed."""
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        yield path, path.read_bytes()
        if path.suffix == ".parquet":
            yield path, str(pq.read_table(path).to_pylist()).encode()
        elif path.parent.name == "storage":  # a Prefect result: a pickle as text
            yield path, base64.b64decode(path.read_bytes())


async def told(client: PrefectClient) -> str:
    """All that the API tells."""
    found: list[Any] = [
        await client.read_logs(limit=200),
        await client.read_artifacts(),
        await client.read_flow_runs(),
        await client.read_task_runs(),
        await client.read_deployments(),
        await client.read_automations(),
        (await client.read_events(filter=EventFilter(), limit=50)).events,
    ]
    for page in ("/block_documents/filter", "/variables/filter", "/work_pools/filter"):
        answer = await client._client.post(page, json={})  # as the UI asks: the client would ask for secrets too
        found.append(answer.text)
    return str(found)


async def test_the_key_shows_nowhere_when_a_run_succeeds_stops_at_its_budget_or_is_refused(
    served: str, served_folder: Path, provider: Simulator, tmp_path: Path
):
    good = job_values(tmp_path, "shown")
    capped = {**job_values(tmp_path, "capped"), "budget_usd": "0.0000001"}
    refused = job_values(tmp_path, "refused")
    async with client_of(served) as client:
        states = [(await ended(client, await start(client, "online-inference/online", one))) for one in (good, capped)]
        provider.configure(api_key="sk-another")
        states.append(await ended(client, await start(client, "online-inference/online", refused)))
        stopped = await told_events(client, "promptmill.job.budget_exhausted", states[1])
        failed = await told_events(client, "promptmill.job.failed", states[2])
        everything = await told(client)
    leaks = {
        path for place in (served_folder, tmp_path) for path, content in contents(place) if KEY.encode() in content
    }

    assert [one.state_name for one in states] == ["Completed", "Failed", "Failed"]
    assert len(promptmill.read(good["output"]["url"])) == 20
    assert "budget_usd" in message_of(states[1])
    assert "401" in message_of(states[2])
    assert (stopped[0].payload["succeeded"], failed[0].payload["succeeded"]) == (0, 0)
    assert "promptmill-provider" in everything
    assert KEY not in everything
    assert leaks == set()


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param({"provider": {"name": "openai", "base_url": ELSEWHERE}}, id="a-provider-with-an-address"),
        pytest.param({"provider.base_url": ELSEWHERE}, id="the-providers-address"),
        pytest.param({"base_url": ELSEWHERE}, id="an-address"),
        pytest.param({"request.base_url": ELSEWHERE}, id="the-requests-address"),
        pytest.param({"request.endpoint": ELSEWHERE}, id="an-address-as-endpoint"),
        pytest.param({"limits.base_url": ELSEWHERE}, id="the-address-of-a-limit"),
    ],
)
def test_no_override_points_the_key_elsewhere(overrides: dict[str, Any], tmp_path: Path):
    job = Job.model_validate(job_values(tmp_path, "elsewhere"))

    with pytest.raises(PromptmillError) as refused:
        resolve_job(job, None, overrides)

    assert KEY not in str(refused.value)


async def test_what_a_job_passes_through_changes_neither_the_address_nor_the_headers(
    served: str, provider: Simulator, tmp_path: Path
):
    """`request.parameters` go into the body, and a provider block that nobody made isn't filled from the environment."""
    job = job_values(tmp_path, "through")
    job["request"]["parameters"] |= {"base_url": ELSEWHERE, "extra_headers": {"x": "y"}, "api_key": "mine"}
    async with client_of(served) as client:
        passed = await ended(client, await start(client, "online-inference/online", job))
        unknown = await start(client, "online-inference/online", job, overrides={"provider": "elsewhere"})
        refused = await ended(client, unknown)

    assert passed.state_name == "Completed"
    assert refused.state_name == "Failed"
    assert "there is no provider block named 'elsewhere'" in message_of(refused)
