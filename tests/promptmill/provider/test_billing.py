"""Every answer is paid for: by its own usage, or by what was reserved for it."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.limits.pricing import TIERS, prices_for, requested_tier
from promptmill.provider.billing import Billing, Charge
from promptmill.provider.response_body import Answer
from promptmill.records import Usage

PRICES = prices_for("gpt-6-luna", None)
MTOK = Usage(100_000, 0, 100_000)
ANSWER = Answer("four", None, "stop", MTOK, "gpt-6-luna", "id", None)
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


def test_an_answer_without_usage_costs_its_reservation_and_its_tokens_are_counted_here() -> None:
    charge = Billing(PRICES, None, len).charge(replace(ANSWER, usage=None), 20, RESERVED)

    assert charge == Charge(Usage(20, 0, 4), RESERVED)


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
