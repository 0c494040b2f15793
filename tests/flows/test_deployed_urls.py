"""A deployed run, in a process of its own as a worker starts one, reads and writes only what the operator lists."""

import json
import os
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from promptmill.allowed_urls import URLS_SETTING
from promptmill.batch.registry import register
from promptmill.checkpoints.store import Store
from promptmill.job.spec import Job
from promptmill.planning.plan import Chunk
from promptmill.sharding.folder import ShardFolder
from promptmill.sharding.plan import ShardPlan
from promptmill.storage import Storage
from tests.support.commands import warm_flows
from tests.support.paths import ROOT


def run_deployed(
    api_url: str, listed: Path, flow: str, settings: dict[str, str] | None = None, **arguments: Any
) -> str:
    """What a deployed run that fails says."""
    environment = {**os.environ, "PREFECT_API_URL": api_url, "OPENAI_API_KEY": "x", URLS_SETTING: str(listed)}
    begins = warm_flows(environment, "tests.support.taken_for_deployed")
    process = subprocess.run(
        [*begins, flow, json.dumps(arguments)],
        env={**environment, **(settings or {})},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode != 0
    return process.stdout + process.stderr


def job_over(url: str, output: str) -> Job:
    """A job as somebody would write it who wants to see a file of the worker's."""
    return Job.model_validate(
        {
            "name": "curious",
            "input": {"url": url, "format": "csv"},
            "request": {"model": "gpt-6-luna", "user": "{{ text }}"},
            "output": {"url": output},
        }
    )


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """The only place that deployed runs may use."""
    folder = tmp_path / "listed"
    folder.mkdir()
    return folder


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of the worker's."""
    path = tmp_path / "secret"
    path.write_text("text\nhunter2\n\t- [")
    return path


def test_a_job_file_that_is_not_listed_is_not_read(prefect: str, listed: Path, secret: Path) -> None:
    said = run_deployed(prefect, listed, "estimate_cost", job_url=str(secret))

    assert "is a local path that isn't listed" in said
    assert "hunter2" not in said


def test_a_listed_file_that_is_no_job_is_not_quoted(prefect: str, listed: Path, secret: Path) -> None:
    secret.write_text("hunter2: [\n}")
    said = run_deployed(prefect, secret.parent, "online_inference", job_url=str(secret))

    assert "isn't YAML" in said
    assert "hunter2" not in said


def test_a_shard_reads_no_input_that_is_not_listed(prefect: str, listed: Path, secret: Path) -> None:
    folder = ShardFolder(Store(Storage(f"{listed}/_checkpoints")), "run")
    chunk = Chunk(0, 0, 1, "0" * 32, 1, 0)
    folder.write_plan(
        ShardPlan(job_over(str(secret), f"{listed}/out"), "", [chunk], {}, [(0, 1)], [Decimal(1)], retry_before=None)
    )

    said = run_deployed(prefect, listed, "answer_shard", plan_url=folder.plan_url, shard=0)

    assert "input.url" in said
    assert "is a local path that isn't listed" in said
    assert "hunter2" not in said


def test_a_registered_job_writes_no_output_that_is_not_listed(
    prefect: str, listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = str(tmp_path / "state")  # the operator's own setting needs no listing
    monkeypatch.setenv("PROMPTMILL_STATE_URL", state)
    register(job_over(f"{listed}/rows.csv", f"{tmp_path}/elsewhere"), retry_failed=False, flow_run_ids=())

    said = run_deployed(prefect, listed, "advance_batches", {"PROMPTMILL_STATE_URL": state})

    assert "output.url" in said
    assert "is a local path that isn't listed" in said
    assert not (tmp_path / "elsewhere").exists()
