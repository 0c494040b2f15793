"""The cap holds: spent, reserved and uncertain money never pass it, by kills neither."""

import asyncio
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.errors import BudgetExhausted
from promptmill.limits.budget import Budget
from tests.support.clock import run_on_clock
from tests.support.examples import examples

CENT = Decimal("0.01")


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0, 1), st.booleans()), max_size=60), st.integers(1, 300))
@settings(max_examples=examples(60), deadline=None)
def test_no_order_of_reserving_and_settling_passes_the_cap(work: list[tuple[int, float, bool]], cap: int) -> None:
    async def scenario() -> None:
        budget = Budget(cap * CENT)

        async def spend(cents: int, share: float, is_lost: bool) -> None:
            reserved = await budget.reserve(cents * CENT)
            assert budget.committed_usd <= budget.cap_usd  # pyright: ignore[reportOperatorIssue]
            await asyncio.sleep(share)
            paid = (reserved * Decimal(str(round(share, 3)))).quantize(Decimal("1e-6"))
            budget.settle(reserved, Decimal(0) if is_lost else paid, reserved if is_lost else Decimal(0))

        results = await asyncio.gather(*(spend(*request) for request in work), return_exceptions=True)

        assert all(result is None or isinstance(result, BudgetExhausted) for result in results)
        assert budget.reserved_usd == 0
        assert budget.committed_usd <= cap * CENT

    run_on_clock(scenario())


def test_a_request_waits_for_room_while_others_are_under_way() -> None:
    async def scenario() -> Decimal:
        budget = Budget(10 * CENT)
        first = await budget.reserve(8 * CENT)
        second = asyncio.ensure_future(budget.reserve(5 * CENT))
        await asyncio.sleep(1)
        assert not second.done()
        budget.settle(first, 2 * CENT)
        budget.settle(await second, 5 * CENT)
        return budget.spent_usd

    assert run_on_clock(scenario()) == 7 * CENT


def test_the_budget_is_exhausted_when_nothing_under_way_could_make_room() -> None:
    async def scenario() -> None:
        budget = Budget(10 * CENT, spent_usd=9 * CENT)
        await budget.reserve(2 * CENT)

    with pytest.raises(BudgetExhausted, match=r"the limit is \$0.10 \(budget_usd\)"):
        run_on_clock(scenario())


def test_a_budget_records_a_grant_before_it_uses_the_money() -> None:
    async def scenario() -> None:
        written: list[Decimal] = []

        async def record(amount: Decimal) -> None:
            await asyncio.sleep(0.1)
            written.append(amount)

        budget = Budget(Decimal(1), record_grant=record)
        for _ in range(100):
            reserved = await budget.reserve(Decimal("0.004"))
            assert written[-1] >= budget.committed_usd
            budget.settle(reserved, Decimal("0.003"))
        assert len(written) < 50
        await budget.close()
        assert written[-1] == budget.spent_usd == Decimal("0.3")

    run_on_clock(scenario())
