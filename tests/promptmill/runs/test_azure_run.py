"""Runs at Azure's addresses: by deployment or not, online and by batch, with what its filter says."""

import pytest

import promptmill
from promptmill.job.identity import job_digest
from promptmill.provider.transport import Credentials
from promptmill.simulator import Simulator
from tests.support.batching import carry_batches
from tests.support.billing import billed
from tests.support.jobs import MakeJob, carry_out

DEPLOYED = "label-quickly"


@pytest.fixture(
    params=["/openai/v1", "/openai?api-version=2024-10-21", f"/openai/deployments/{DEPLOYED}?api-version=2024-10-21"]
)
def azure(request: pytest.FixtureRequest, simulator: Simulator) -> Credentials:
    """One of Azure's addresses."""
    return Credentials(api_key="azure-key", base_url=simulator.base_url.removesuffix("/v1") + request.param)


async def test_a_deployment_is_asked_and_its_model_is_priced(make_job: MakeJob, azure: Credentials):
    job = make_job(4, request__deployment=DEPLOYED)
    manifest = await carry_out(job, azure)

    assert set(promptmill.read(job.output.url)["llm_model"]) == {DEPLOYED}
    assert (manifest.succeeded, manifest.cost_usd > 0) == (4, True)


async def test_the_name_of_a_deployment_makes_no_answer_worthless(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
):
    plain, deployed = make_job(4), make_job(6, request__deployment=DEPLOYED)
    await carry_out(plain, credentials)
    await carry_out(deployed, credentials)

    assert job_digest(plain) == job_digest(deployed)
    assert billed(simulator, "default") == 6


async def test_a_batch_asks_the_deployment(make_job: MakeJob, azure: Credentials, simulator: Simulator):
    simulator.configure(batch_seconds=0.1)
    job = make_job(4, request__deployment=DEPLOYED, batch={"poll_seconds": 0.1})
    manifest = await carry_batches(job, azure)

    assert set(promptmill.read(job.output.url)["llm_model"]) == {DEPLOYED}
    assert manifest.succeeded == 4


async def test_embeddings_ask_the_deployment(make_job: MakeJob, credentials: Credentials):
    request = {
        "endpoint": "embeddings",
        "model": "text-embedding-3-small",
        "input": "{{ text }}",
        "deployment": DEPLOYED,
    }
    job = make_job(4, request=request)
    manifest = await carry_out(job, credentials)

    assert set(promptmill.read(job.output.url)["llm_model"]) == {DEPLOYED}
    assert manifest.succeeded == 4


async def test_what_the_filter_found_is_told_of_prompt_and_answer(make_job: MakeJob, azure: Credentials):
    job = make_job(["fine", "POISON-BLOCKED", "POISON-FILTER"], max_failure_ratio=1.0)
    await carry_out(job, azure)
    failures = promptmill.read_failures(job.output.url)

    assert [*failures["llm_error_kind"]] == ["content_filter", "content_filter"]
    assert failures["llm_error_message"][0].startswith("filtered for violence (high): The response was filtered")
    assert failures["llm_error_message"][1] == (
        "the provider's filter cut the answer (finish_reason content_filter; violence (medium))"
    )
