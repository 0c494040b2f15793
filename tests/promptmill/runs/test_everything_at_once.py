"""A run over a provider that has every odd manner at once: no row is lost, none bought twice, and the bill is right."""

from decimal import Decimal

import pytest

import promptmill
from promptmill.errors import ProviderRefused
from promptmill.job.spec import Job
from promptmill.limits.pricing import prices_for
from promptmill.output.manifest import Manifest
from promptmill.provider.transport import Credentials
from promptmill.records import Usage
from promptmill.simulator import Simulator
from tests.support.jobs import MakeJob, carry_out
from tests.support.odd_gateway import OddGateway, manner_of, odd_gateway

ROWS = 300


async def test_no_row_is_lost_or_bought_twice_and_the_bill_is_right(make_job: MakeJob, simulator: Simulator):
    limits = {"max_concurrency": 24}
    job = make_job(ROWS, limits=limits, chunk_rows=75, checkpoint_rows=25, max_failure_ratio=0.05)
    async with odd_gateway(simulator.base_url, broke_at=200) as gateway:
        manifest = await carry_out_patiently(job, gateway)
    answers, failures = promptmill.read(job.output.url), promptmill.read_failures(job.output.url)
    blocked = [row for row in range(ROWS) if manner_of(row) == "firewall-403"]
    prices = prices_for(job.request.model, None)
    told = {row: Usage(usage["prompt_tokens"], 0, usage["completion_tokens"]) for row, usage in gateway.told.items()}
    exact = answers[~answers["llm_usage_estimated"]]

    assert manifest.rows == ROWS
    assert sorted([*answers["row_index"], *failures["row_index"]]) == list(range(ROWS))
    assert [*failures["row_index"]] == blocked
    assert set(failures["llm_http_status"]) == {403}
    assert gateway.again == []
    assert set(exact["row_index"]) == set(told)
    assert sum(exact["llm_cost_usd"], Decimal(0)) == sum((prices.price(usage) for usage in told.values()), Decimal(0))
    assert len(gateway.met) == 9


async def carry_out_patiently(job: Job, gateway: OddGateway) -> Manifest:
    """The manifest of a job whose user adds credit when the run says that there is none, and gives the command again."""
    credentials = Credentials(api_key="test", base_url=gateway.url)
    with pytest.raises(ProviderRefused, match=r"Insufficient credits.*run the same command again"):
        await carry_out(job, credentials)
    gateway.broke_at = None
    return await carry_out(job, credentials)
