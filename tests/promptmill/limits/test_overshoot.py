"""The cap on money is passed by no more than is said before the run."""

import asyncio
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.errors import BudgetExhausted
from promptmill.job.spec import Pricing
from promptmill.limits.budget import Budget
from promptmill.limits.overshoot import LONGEST_OUTPUT_TOKENS, Overshoot, overshoot_of
from promptmill.limits.pricing import TIERS, prices_for
from promptmill.records import Usage
from tests.support.clock import run_on_clock
from tests.support.examples import examples

CENT = Decimal("0.01")
PRICES = prices_for("gpt-6-luna", None)


@given(
    work=st.lists(st.tuples(st.integers(0, 50), st.integers(-50, 20), st.floats(0, 1), st.booleans()), max_size=60),
    cap=st.integers(1, 300),
    slots=st.integers(1, 8),
)
@settings(max_examples=examples(100), deadline=None)
def test_answers_that_exceed_their_reservations_pass_the_cap_by_the_overshoot_at_most(
    work: list[tuple[int, int, float, bool]], cap: int, slots: int
) -> None:
    """`slots` requests in flight at once, each of which may cost up to 20 cents more than was reserved for it."""

    async def scenario() -> None:
        budget, places = Budget(cap * CENT), asyncio.Semaphore(slots)
        most = Overshoot(slots, 20 * CENT).usd

        async def send(reserve: int, excess: int, seconds: float, is_lost: bool) -> None:
            async with places:
                reserved = await budget.reserve(reserve * CENT)
                await asyncio.sleep(seconds)
                paid = max(Decimal(0), reserved + excess * CENT)
                budget.settle(reserved, Decimal(0) if is_lost else paid, reserved if is_lost else Decimal(0))
                assert budget.committed_usd <= cap * CENT + most

        results = await asyncio.gather(*(send(*request) for request in work), return_exceptions=True)

        assert all(result is None or isinstance(result, BudgetExhausted) for result in results), results
        assert budget.reserved_usd == 0

    run_on_clock(scenario())


@given(
    counted=st.integers(0, 500_000),
    share=st.floats(0, 2),
    cached=st.floats(0, 1),
    stored=st.floats(0, 1),
    limit=st.one_of(st.none(), st.integers(0, 200_000)),
    output=st.floats(0, 1),
    asked=st.sampled_from([None, "flex", "priority", "default", "ultrafast"]),
    named=st.sampled_from([*TIERS, None, "ultrafast"]),
)
@settings(max_examples=examples(300), deadline=None)
def test_no_answer_exceeds_its_reservation_by_more_than_is_said(
    counted: int,
    share: float,
    cached: float,
    stored: float,
    limit: int | None,
    output: float,
    asked: str | None,
    named: str | None,
) -> None:
    most = LONGEST_OUTPUT_TOKENS if limit is None else limit
    reserved = PRICES.request_usd(counted, 1_000 if limit is None else limit, asked)
    tokens = int(counted * share)
    read = int(tokens * cached)
    cost = PRICES.price(Usage(tokens, read, int(most * output)), named, int((tokens - read) * stored))

    assert cost - reserved <= overshoot_of(PRICES, asked, 1, counted, limit, is_exact=False).usd


def test_an_exact_count_and_one_price_leave_nothing_to_exceed() -> None:
    prices = prices_for("local", Pricing(input_per_mtok=Decimal(1), output_per_mtok=Decimal(2)))

    assert overshoot_of(prices, None, 64, 1_000, 100, is_exact=True).usd == 0


@pytest.mark.parametrize(
    ("limit", "is_exact", "expected"),
    [
        pytest.param(100, False, "0.064", id="input-is-estimated"),
        pytest.param(None, True, str(64 * 2 * 127_000 / 10**6), id="output-is-unlimited"),
    ],
)
def test_the_overshoot_is_the_requests_in_flight_times_the_excess_of_each(
    limit: int | None, is_exact: bool, expected: str
) -> None:
    prices = prices_for("local", Pricing(input_per_mtok=Decimal(1), output_per_mtok=Decimal(2)))

    assert overshoot_of(prices, None, 64, 1_000, limit, is_exact).usd == Decimal(expected)
