"""A whole Promptmill on a real PostgreSQL, which keeps less of a run's parameters than sqlite does."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.schemas.objects import FlowRun

import promptmill
from benchmarks.postgres import find_postgres, postgres
from promptmill.job.file import load_job
from promptmill.provider.transport import Credentials
from promptmill.simulator import Simulator
from tests.support.jobs import carry_out
from tests.support.paths import ROOT
from tests.support.serving import KEY, client_of, ended, job_values, kill_midway, reached, serving, start, warm_runs

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("postgres")]
REQUESTS = 1_200  # a minute, of the shared limit
BURST = REQUESTS // 20  # that an idle limit hands out at once
# PostgreSQL gives the keys back as label, score, reasoning.
SCHEMA = {
    "type": "object",
    "properties": {
        "reasoning": {"type": "string"},
        "score": {"type": "number"},
        "label": {"type": "string", "enum": ["good", "bad"]},
    },
    "required": ["reasoning", "score", "label"],
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, served_provider: Simulator) -> Iterator[str]:
    """A served Promptmill on PostgreSQL with the shared limit `pg`; yields the API's URL."""
    if find_postgres() is None:
        reason = "PostgreSQL isn't installed. Install it: apt-get install postgresql"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    folder = tmp_path_factory.mktemp("on-postgres")
    with postgres() as url, serving(folder, served_provider, PREFECT_SERVER_DATABASE_CONNECTION_URL=url) as api_url:
        words = [sys.executable, "deployments/bootstrap.py", "--limit", f"pg={REQUESTS},100000000"]
        subprocess.run(words, cwd=ROOT, env={**os.environ, "PREFECT_API_URL": api_url}, check=True)
        with warm_runs(api_url, folder):
            yield api_url


def labelling(folder: Path, name: str, rows: int = 20) -> dict[str, Any]:
    """A job with a schema written out in it."""
    job = job_values(folder, name, rows)
    job["request"] |= {"response_schema": SCHEMA, "parameters": {"max_completion_tokens": 64}}
    return job


def manifest_of(job: dict[str, Any]) -> dict[str, Any]:
    """What a run left."""
    return json.loads((Path(job["output"]["url"]) / "_manifest.json").read_bytes())


async def test_a_run_through_the_api_and_one_from_a_file_make_the_same_requests_and_share_their_answers(
    served: str, provider: Simulator, tmp_path: Path
):
    job = labelling(tmp_path, "labels")
    elsewhere = {**job, "output": {"url": str(tmp_path / "elsewhere")}}
    for name, values in (("job", job), ("elsewhere", elsewhere)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    key = Credentials(api_key=KEY, base_url=provider.base_url)

    async with client_of(served) as client:
        done = await ended(client, await start(client, "online-inference/online", job))
    kept = done.parameters["job"]["request"]["response_schema"]["properties"]
    over_api = promptmill.read(job["output"]["url"])
    await carry_out(load_job(str(tmp_path / "elsewhere.yaml")), key)
    from_file = promptmill.read(elsewhere["output"]["url"])
    (Path(job["output"]["url"]) / "_manifest.json").unlink()  # else the output is known to be complete
    again = await carry_out(load_job(str(tmp_path / "job.yaml")), key)

    assert done.state_name == "Completed", done.state
    assert list(kept) != list(SCHEMA["properties"])
    assert list(over_api["llm_custom_id"]) == list(from_file["llm_custom_id"])
    assert list(over_api.columns) == list(from_file.columns)
    assert (again.succeeded, again.reused, again.requests_sent) == (20, 20, 0)


async def test_two_runs_share_a_limit(served: str, provider: Simulator, tmp_path: Path):
    jobs = [labelling(tmp_path, name, rows=150) | {"limits": {"shared": "pg"}} for name in ("left", "right")]
    began = len(provider.timeline()["requests"])
    async with client_of(served) as client:
        names = ("online-inference/online", "online-inference/nightly")
        runs = [await start(client, name, job, job_url=None) for name, job in zip(names, jobs, strict=True)]
        done: list[FlowRun] = await asyncio.gather(*(ended(client, run) for run in runs))
    sent = provider.timeline()["requests"][began:]
    first = next(second for second, amount in enumerate(sent) if amount)
    so_far = list(accumulate(sent[first:]))

    assert [run.state_name for run in done] == ["Completed", "Completed"]
    assert [manifest_of(job)["succeeded"] for job in jobs] == [150, 150]
    assert so_far[-1] == 300
    assert all(amount <= BURST + REQUESTS / 60 * (second + 3) for second, amount in enumerate(so_far))


async def test_a_killed_run_goes_on_by_itself(served: str, provider: Simulator, tmp_path: Path):
    job = {**labelling(tmp_path, "killed", rows=40), "chunk_rows": 5, "chunks_in_flight": 1}
    job["limits"] = {"max_concurrency": 5}
    provider.configure(latency_seconds=1.0)
    async with client_of(served) as client:
        run = await start(client, "online-inference/online", job)
        await kill_midway(run, job)
        done = await reached(client, run, "Completed", 120)
    manifest = manifest_of(job)

    assert done.run_count == 2
    assert (manifest["rows"], manifest["succeeded"]) == (40, 40)
    assert 15 <= manifest["reused"] < 40
    assert manifest["requests_sent"] == 40 - manifest["reused"]
