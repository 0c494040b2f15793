"""Every answer is paid for: by its own usage, or by our count of what it doesn't tell."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.limits.pricing import TIERS, prices_for, requested_tier
from promptmill.provider.billing import Billing, Charge
from promptmill.provider.response_body import Answer
from promptmill.provider.usage import ToldUsage
from promptmill.records import Usage

PRICES = prices_for("gpt-6-luna", None)
MTOK = Usage(100_000, 0, 100_000)
ANSWER = Answer("four", None, "stop", ToldUsage(100_000, 100_000), "gpt-6-luna", "id", None)
RESERVED = Decimal("0.5")


@pytest.mark.parametrize(
    ("asked", "named", "charged"),
    [
        pytest.param(None, None, "standard", id="nobody-names-a-tier"),
        pytest.param("flex", None, "flex", id="the-job-names-one"),
        pytest.param("flex", "default", "standard", id="the-answer-names-another"),
        pytest.param(None, "priority", "priority", id="the-answer-names-one"),
    ],
)
def test_an_answer_costs_the_tier_it_names_or_else_the_one_that_was_asked_for(
    asked: str | None, named: str | None, charged: str
) -> None:
    charge = Billing(PRICES, asked, len).charge(replace(ANSWER, service_tier=named), 1, RESERVED)

    assert charge == Charge(MTOK, PRICES.price(MTOK, charged))


def test_a_batch_costs_the_batch_price_whatever_tier_its_answers_name() -> None:
    billing = Billing(PRICES, "batch", len, is_tier_fixed=True)

    assert billing.charge(replace(ANSWER, service_tier="priority"), 1, RESERVED).cost_usd == PRICES.price(MTOK, "batch")


@pytest.mark.parametrize(
    ("told", "usage", "is_rest_uncertain"),
    [
        pytest.param(ToldUsage(), Usage(20, 0, 4, is_estimated=True), True, id="nothing"),
        pytest.param(ToldUsage(30), Usage(30, 0, 4, is_estimated=True), True, id="input-alone"),
        pytest.param(ToldUsage(None, 9), Usage(20, 0, 9, is_estimated=True), False, id="output-alone"),
        pytest.param(
            ToldUsage(None, 9, 50), Usage(20, 20, 9, is_estimated=True), False, id="more-cached-than-we-count"
        ),
        pytest.param(ToldUsage(30, 9, 0, 0, 7), Usage(30, 0, 9, 7), False, id="reasoning-told"),
    ],
)
def test_tokens_that_the_provider_leaves_out_are_counted_here_and_marked(
    told: ToldUsage, usage: Usage, is_rest_uncertain: bool
) -> None:
    """Where the output is unknown, the rest of the reservation stays taken, since hidden reasoning can't be counted."""
    charge = Billing(PRICES, None, len).charge(replace(ANSWER, usage=told), 20, RESERVED)

    cost_usd = PRICES.price(usage, None)
    assert charge == Charge(usage, cost_usd, RESERVED - cost_usd if is_rest_uncertain else Decimal(0))


def test_thinking_beside_the_answer_is_counted_as_reasoning_where_the_provider_does_not() -> None:
    answer = replace(ANSWER, usage=ToldUsage(20, 9), thinking="hm, hm")

    assert Billing(PRICES, None, len).charge(answer, 20, RESERVED).usage == Usage(20, 0, 9, 6)


@pytest.mark.parametrize("tier", ["flex", "priority"])
def test_the_tier_that_the_job_asks_for_prices_its_reservations(tier: str) -> None:
    standard = Billing(PRICES, None, len).reserve_usd(100_000, 100_000)
    reserved = Billing(PRICES, requested_tier({"service_tier": tier}), len).reserve_usd(100_000, 100_000)

    assert reserved == standard * (2 if tier == "priority" else Decimal("0.5"))


@pytest.mark.parametrize(
    ("parameters", "tier"),
    [
        ({}, None),
        ({"service_tier": None}, None),
        ({"service_tier": ""}, None),
        ({"service_tier": 3}, None),
        ({"service_tier": "flex"}, "flex"),
    ],
)
def test_the_requested_tier_is_read_from_the_parameters(parameters: dict[str, object], tier: str | None) -> None:
    assert requested_tier(parameters) == tier


@given(
    st.integers(0, 10**8),
    st.integers(0, 10**8),
    st.integers(0, 10**8),
    st.integers(0, 10**8),
    st.sampled_from([*TIERS, None, "ultrafast"]),
)
def test_no_usage_costs_less_than_nothing(fresh: int, cached: int, written: int, output: int, tier: str | None) -> None:
    """Also where a caller passes more cached or stored tokens than there is input."""
    assert PRICES.price(Usage(fresh, cached, output), tier, written) >= 0
