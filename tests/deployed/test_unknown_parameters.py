"""Wrong parameters: refused when the run is created, or the run failed at once; either way somebody knows what to fix."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prefect.exceptions import PrefectHTTPStatusError

from promptmill.job.spec import Job
from promptmill.simulator import Simulator
from tests.support.serving import client_of, ended, job_values, reached


@pytest.mark.parametrize(
    ("changes", "place", "reason"),
    [
        pytest.param({"nam": "x"}, "'job'", "'nam' is not one of ['name', 'input', ", id="unknown-key"),
        pytest.param(
            {"request": {"model": "m", "usr": "x"}},
            "'job.request'",
            "'usr' is not one of ['endpoint', 'model', 'deployment', 'system', 'user', ",
            id="unknown-key-in-a-section",
        ),
        pytest.param(
            {"limits": {"max_concurrency": 0}},
            "'job.limits.max_concurrency'",
            "0 is less than the minimum of 1",
            id="bound",
        ),
        pytest.param({"max_failure_ratio": "x"}, "'job.max_failure_ratio'", "'x' is not of type 'number'", id="type"),
        pytest.param(
            {"batch": {"leftovers": "drop"}},
            "'job.batch.leftovers'",
            "'drop' is not one of ['resubmit', 'online', 'fail']",
            id="choice",
        ),
        pytest.param({"request": {"user": "x"}}, "'job.request'", "'model' is a required property", id="missing"),
    ],
)
async def test_a_malformed_job_is_refused_when_the_run_is_created(
    changes: dict[str, Any], place: str, reason: str, served: str, tmp_path: Path
):
    job = {**job_values(tmp_path, "refused"), **changes}
    async with client_of(served) as client:
        deployment = await client.read_deployment_by_name("online-inference/online")
        with pytest.raises(PrefectHTTPStatusError) as refused:
            await client.create_flow_run_from_deployment(deployment.id, parameters={"job": job})
    said = refused.value.response.json()["detail"]

    assert refused.value.response.status_code == 409
    assert place in said
    assert reason in said


async def test_a_run_with_wrong_parameters_fails_at_once_and_names_the_right_ones(
    served: str, provider: Simulator, tmp_path: Path
):
    job = job_values(tmp_path, "failing")
    unknown, retry = "the run has an unknown parameter", {"job": job, "retry_faild": True}
    wrong: list[tuple[str, dict[str, Any], str]] = [
        ("estimate-cost/estimate", {"jobb": job}, f"{unknown} 'jobb'. Did you mean 'job'?"),
        ("online-inference/online", retry, f"{unknown} 'retry_faild'. Did you mean 'retry_failed'?"),
        (
            "estimate-cost/estimate",
            {"job": job, "overrides": {"limits.max_concurency": 3}},
            "limits: unknown key 'max_concurency'. Did you mean 'max_concurrency'?",
        ),
        (
            "estimate-cost/estimate",
            {"job": {**job, "request": {"model": "gpt-6-luna"}}},
            "request: chat.completions takes `user`",
        ),
        ("estimate-cost/estimate", {}, "a run takes either `job` (the job itself) or `job_url`"),
    ]
    sent_before = provider.ledger()["tiers"]
    async with client_of(served) as client:
        deployments = {name: await client.read_deployment_by_name(name) for name, _, _ in wrong}
        started = [
            await client.create_flow_run_from_deployment(deployments[name].id, parameters=parameters)
            for name, parameters, _ in wrong
        ]
        done = await asyncio.gather(*(reached(client, run, "Failed") for run in started))

    for (_, _, words), run in zip(wrong, done, strict=True):
        assert run.state is not None
        assert words in (run.state.message or "")
    assert provider.ledger()["tiers"] == sent_before


async def test_a_job_with_every_key_written_out_is_accepted(served: str, tmp_path: Path):
    job = Job.model_validate(job_values(tmp_path, "in-full")).model_dump(mode="json")
    async with client_of(served) as client:
        deployment = await client.read_deployment_by_name("estimate-cost/estimate")
        parameters = {"job": job, "job_url": None, "overrides": None}
        done = await ended(client, await client.create_flow_run_from_deployment(deployment.id, parameters=parameters))

    assert None in job.values()
    assert done.state_name == "Completed", done.state
