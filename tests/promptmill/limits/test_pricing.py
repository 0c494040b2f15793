"""Tokens cost what the table says, exactly, at every tier, and an unknown price is never zero."""

import logging
from datetime import UTC, datetime
from decimal import Decimal

import genai_prices
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.errors import JobError
from promptmill.job.spec import Pricing
from promptmill.limits.pricing import CONTEXTS, TIERS, PriceList, Rates, Tier, TierPrice, prices_for
from promptmill.records import Usage
from tests.support.jobs import MakeJob

MTOK = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
TABLE = [  # model, tier, USD per million tokens: input, cached input, output; genai-prices 0.2.3, read 2026-11-24
    ("gpt-4o-mini", "standard", "0.15", "0.075", "0.60"),
    ("gpt-4o-mini", "batch", "0.075", "0.075", "0.30"),
    ("gpt-4.1-mini", "standard", "0.40", "0.10", "1.60"),
    ("gpt-4.1-mini", "batch", "0.20", "0.10", "0.80"),
    ("gpt-4.1-nano", "standard", "0.10", "0.025", "0.40"),
    ("gpt-5-mini", "standard", "0.25", "0.025", "2.00"),
    ("gpt-5-mini", "batch", "0.125", "0.0125", "1.00"),
    ("gpt-5-mini", "flex", "0.125", "0.0125", "1.00"),
    ("gpt-5-nano", "batch", "0.025", "0.0025", "0.20"),
    ("gpt-5.4-mini", "standard", "0.75", "0.075", "4.50"),
    ("gpt-5.4-mini", "batch", "0.375", "0.0375", "2.25"),
    ("gpt-5.5", "standard", "5", "0.5", "30"),
    ("gpt-5.6-luna", "standard", "0.20", "0.02", "1.20"),
    ("gpt-5.6-terra", "batch", "1", "0.1", "6"),
    ("gpt-6-luna", "standard", "0.10", "0.01", "0.50"),
    ("gpt-6-luna", "batch", "0.05", "0.005", "0.25"),
    ("gpt-6-luna", "priority", "0.20", "0.02", "1.00"),
    ("gpt-6-sol", "standard", "2", "0.2", "10"),
    ("gpt-6-astra", "standard", "10", "1", "50"),
    ("gpt-6.1-terra", "batch", "0.5", "0.025", "2.5"),
    ("text-embedding-3-small", "standard", "0.02", "0.02", "0"),
    ("text-embedding-3-small", "batch", "0.01", "0.01", "0"),
    ("text-embedding-3-large", "batch", "0.065", "0.065", "0"),
]
LISTS: dict[str, PriceList] = {}


def prices(model: str) -> PriceList:
    """A model's price list, made once."""
    if model not in LISTS:
        LISTS[model] = prices_for(model, None)
    return LISTS[model]


@pytest.mark.parametrize(("model", "tier", "fresh", "cached", "output"), TABLE)
def test_published_prices(model: str, tier: Tier, fresh: str, cached: str, output: str) -> None:
    listed = prices(model)
    thousand = Decimal(1000)

    assert Decimal(fresh) / thousand == listed.price(Usage(1000), tier)
    assert Decimal(cached) / thousand == listed.price(Usage(1000, 1000), tier)
    assert Decimal(output) / thousand == listed.price(Usage(0, 0, 1000), tier)


@given(
    model=st.sampled_from(["gpt-4o-mini", "gpt-6-luna", "gpt-5.4", "gpt-6.1-terra", "gpt-5-mini"]),
    tier=st.sampled_from(TIERS),
    tokens=st.one_of(st.integers(0, 5_000), st.integers(271_990, 272_010), st.integers(272_000, 2_000_000)),
    cached=st.floats(0, 1),
    stored=st.floats(0, 1),
    output=st.integers(0, 200_000),
)
def test_every_amount_is_what_the_table_itself_charges(
    model: str, tier: Tier, tokens: int, cached: float, stored: float, output: int
) -> None:
    """Also across the threshold of long contexts, where the whole request changes its rate."""
    listed = prices(model)
    if tier in listed.assumptions:
        return
    read = int(tokens * cached)
    written = int((tokens - read) * stored) if model.startswith("gpt-6") else 0
    charged = genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=tokens, cache_read_tokens=read, cache_write_tokens=written, output_tokens=output
        ),
        model,
        provider_id="openai",
        price_context=CONTEXTS[tier],
    )

    assert charged.total_price == listed.price(Usage(tokens, read, output), tier, cache_write_tokens=written)


@pytest.mark.parametrize(
    ("echo", "tier"),
    [
        (None, "standard"),
        ("auto", "standard"),
        ("default", "standard"),
        ("scale", "standard"),
        ("flex", "flex"),
        ("priority", "priority"),
        ("fast", "priority"),
        ("batch", "batch"),
    ],
)
def test_the_tier_that_an_answer_names_is_charged(echo: str | None, tier: Tier) -> None:
    assert prices("gpt-6-luna").price(Usage(1000, 0, 1000), tier) == prices("gpt-6-luna").price(
        Usage(1000, 0, 1000), echo
    )


def test_an_unknown_tier_costs_as_the_dearest_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    listed = prices_for("gpt-6-luna", None)
    with caplog.at_level(logging.WARNING):
        costs = {listed.price(Usage(1000, 0, 10), "ultrafast") for _ in range(3)}

    assert {listed.price(Usage(1000, 0, 10), "priority")} == costs
    assert 1 == len(caplog.records)


def test_a_tier_that_the_table_lacks_is_assumed_and_said_to_be() -> None:
    """genai-prices gives the standard price in silence for a context that it does not know."""
    listed = prices("text-embedding-3-small")

    assert {"batch", "flex", "priority"} == set(listed.assumptions)
    assert listed.tokens_usd(1000, 0) == listed.tokens_usd(1000, 0, "flex")
    assert listed.tokens_usd(1000, 0) * 2 == listed.tokens_usd(1000, 0, "priority")
    assert {} == prices("gpt-6-luna").assumptions


@pytest.mark.parametrize(
    "model",
    [
        "ft:gpt-4o-mini-2024-07-18:acme::abc",
        "my-deployment",
        "Llama-3.1-8B-Instruct",
        "gpt-6.2-sol",
        "moderation",  # listed without a price
        "whisper-1",  # priced by the hour
    ],
)
def test_an_unknown_price_is_refused(model: str) -> None:
    with pytest.raises(JobError, match="input_per_mtok") as refused:
        prices_for(model, None)

    assert repr(model) in str(refused.value)


RATES = Rates(Decimal(1), Decimal(1), Decimal(1), Decimal(1))


def test_the_jobs_own_pricing_goes_first() -> None:
    pricing = Pricing(input_per_mtok=Decimal(3), output_per_mtok=Decimal(9), batch_discount=Decimal("0.25"))
    listed = prices_for("gpt-6-luna", pricing)

    assert Decimal(12) == listed.price(MTOK) == listed.price(MTOK, "flex") == listed.price(MTOK, "ultrafast")
    assert Decimal(9) == listed.price(MTOK, "batch")
    assert Decimal(3) == listed.price(Usage(1_000_000, 1_000_000))  # cached as input, where nothing else is said
    assert "the job's own pricing" == listed.label


def test_cached_input_of_the_jobs_own_pricing() -> None:
    pricing = Pricing(input_per_mtok=Decimal(4), cached_input_per_mtok=Decimal(0), output_per_mtok=Decimal(0))

    assert Decimal(1) == prices_for("local", pricing).price(Usage(1_000_000, 750_000, 500))


def test_totals_never_cost_as_long_requests_do() -> None:
    """An estimate adds up many requests, each far below the threshold; a single request of that length costs twice."""
    listed = prices("gpt-6-luna")

    assert Decimal("0.1") == listed.tokens_usd(1_000_000, 0)
    assert Decimal("0.2") == listed.request_usd(1_000_000, 0)
    assert Decimal("0.0272") == listed.request_usd(272_000, 0)


def test_rates_carry_no_more_digits_than_they_need() -> None:
    """Costs are stored with 12 decimals."""
    cost = prices("gpt-6-luna").price(Usage(1, 1, 0), "batch")

    assert Decimal("5E-9") == cost
    assert cost.as_tuple().exponent == -9


def test_the_label_says_where_from_and_of_when() -> None:
    label = prices_for("gpt-4o-mini", None, datetime(2026, 11, 24, tzinfo=UTC)).label

    assert f"genai-prices {genai_prices.__version__}, gpt-4o-mini, as of 2026-11-24" == label


def test_prices_are_those_of_the_day() -> None:
    """gpt-5.6-luna became cheaper on 2026-07-30."""
    before = prices_for("gpt-5.6-luna", None, datetime(2026, 7, 29, tzinfo=UTC))

    assert Decimal(1) == before.tokens_usd(1_000_000, 0)
    assert Decimal("0.2") == prices("gpt-5.6-luna").tokens_usd(1_000_000, 0)


@pytest.mark.parametrize("model", ["gpt-4o-mini-2024-07-18", "gpt-6-luna-2026-09-01"])
def test_dated_names_are_known(model: str) -> None:
    base = model[: -len("-2024-07-18")]

    assert prices(base).price(MTOK) == prices(model).price(MTOK)


def test_answers_that_are_paid_need_a_price(make_job: MakeJob) -> None:
    with pytest.raises(
        ValueError, match=r"pricing has no output_per_mtok, and chat.completions answers are paid by it"
    ):
        make_job(3, pricing={"input_per_mtok": "0.1"})

    assert make_job(3, pricing={"input_per_mtok": "0.1", "output_per_mtok": "0"}).pricing is not None


def test_a_price_list_says_what_it_assumes_about_a_tier() -> None:
    listed = PriceList("test", {tier: TierPrice(RATES) for tier in TIERS}, {"flex": "flex is assumed"})

    assert listed.assumption_of("flex") == "flex is assumed"
    assert listed.assumption_of("default") is None
    assert listed.assumption_of("a-new-one") is None
    assert listed.assumption_of(None) is None
