"""The bounds hold the bill after any sequence of requests, answers, faults, kills, ends and cleanings; and they are narrow."""

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.account import Account
from promptmill.audit.bounds import Audit, audit_of
from promptmill.audit.records import BatchMoney, Books, Found
from promptmill.checkpoints.accounts import Accounts, Cleaned
from promptmill.checkpoints.answer_files import answers_table
from promptmill.checkpoints.kept_money import KeptMoney, KeptSums
from promptmill.errors import StorageFailed
from promptmill.limits.exposure import Exposure
from promptmill.limits.pricing import prices_for
from promptmill.records import Completion, Failure, Result, Usage
from tests.support.examples import examples

STEPS = 10**12
DEAREST = 8  # US dollars
ZERO = Decimal(0)
OPERATIONS = ("send", "send", "send", "answer", "answer", "break", "save", "save", "kill", "close", "clean")


@dataclass
class World:
    """A provider, a storage and the process that is at work."""

    bill: int = 0
    kept: int = 0
    accounts: dict[int, Account] = field(default_factory=dict[int, Account])
    cleaned: list[Cleaned] = field(default_factory=list[Cleaned])
    width: Decimal = ZERO  # that the bounds may have
    broken: int = 0
    writes: int = 0

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        number = len(self.accounts)

        async def write(account: Account) -> None:
            self.accounts[number] = account
            self.writes += 1

        self.exposure = Exposure(write)
        self.in_flight: list[tuple[int, int]] = []  # most, and what the answer will cost
        self.unsaved: list[int] = []
        self.peak = 0

    async def do(self, operation: str, most: int, cost: int, is_billed: bool) -> None:
        if operation == "send":
            await self.exposure.cover(Decimal(most))
            self.in_flight.append((most, min(cost, most)))
            self.bill += min(cost, most)
        elif operation in {"answer", "break"} and self.in_flight:
            self.end(*self.in_flight.pop(0), is_broken=operation == "break", is_billed=is_billed)
        elif operation == "save":
            self.kept += sum(self.unsaved)
            self.exposure.keep(Decimal(sum(self.unsaved)), is_saved=True)
            self.unsaved = []
        elif operation == "kill":
            self.width += DEAREST * self.peak * Decimal("1.125")
            self.start()
        elif operation == "close" and not self.in_flight and not self.unsaved:
            await self.exposure.close()
            self.start()
        elif operation == "clean":
            self.cleaned.append(Cleaned(Decimal(self.kept), Decimal(self.kept)))
            self.kept = 0
        self.peak = max(self.peak, len(self.in_flight) + len(self.unsaved))

    def end(self, most: int, cost: int, *, is_broken: bool, is_billed: bool) -> None:
        if is_broken:
            self.bill -= 0 if is_billed else cost
            self.broken += 1
            self.exposure.settle(Decimal(most), ZERO, Decimal(most))
        else:
            self.exposure.settle(Decimal(most), Decimal(cost))
            self.exposure.hold(Decimal(cost))
            self.unsaved.append(cost)

    def audit(self) -> Audit:
        kept = KeptSums(delivered=1, delivered_steps=self.kept * STEPS)
        return audit_of(books(kept, *self.accounts.values(), cleaned=self.cleaned))


def books(kept: KeptSums, *runs: Account, cleaned: list[Cleaned] | None = None, **found: object) -> Books:
    values = {"batches": (), "saved_usd": {}, "earlier_usd": ZERO, **found}
    return Books(Found(Accounts(runs, None, tuple(cleaned or ())), **values), kept)  # pyright: ignore[reportArgumentType]


@given(
    st.lists(
        st.tuples(st.sampled_from(OPERATIONS), st.integers(1, DEAREST), st.integers(0, DEAREST), st.booleans()),
        max_size=60,
    )
)
@settings(max_examples=examples(300), deadline=None)
def test_the_bounds_hold_the_bill_and_are_as_narrow_as_what_was_at_risk(
    operations: list[tuple[str, int, int, bool]],
) -> None:
    async def play() -> None:
        world = World()
        for operation in operations:
            await world.do(*operation)
            found = world.audit()
            at_work = DEAREST * world.peak * Decimal("1.125")

            assert found.known_usd <= world.bill <= found.at_most_usd
            assert found.at_most_usd - found.known_usd <= world.width + at_work + DEAREST * world.broken

    asyncio.run(play())


def test_a_run_of_twenty_thousand_requests_makes_some_dozens_of_writes() -> None:
    async def play() -> World:
        world = World()
        for number in range(20_000):
            await world.do("send", DEAREST, number % DEAREST, is_billed=True)
            if len(world.in_flight) == 64:
                await world.do("break" if number % 50 == 0 else "answer", 0, 0, is_billed=True)
            if len(world.unsaved) == 25:
                await world.do("save", 0, 0, is_billed=True)
        return world

    world = asyncio.run(play())

    assert world.writes < 100
    assert world.broken == 398


async def test_nothing_is_exposed_when_the_promise_cannot_be_written() -> None:
    async def write(_: Account) -> None:
        raise StorageFailed("no room")

    exposure = Exposure(write)

    with pytest.raises(StorageFailed):
        await exposure.cover(Decimal(1))

    assert (exposure.exposed_usd, exposure.in_flight) == (0, 0)


async def test_a_cancelled_request_leaves_no_older_promise_behind_a_newer_one() -> None:
    written: list[Account] = []
    gate = asyncio.Event()

    async def write(account: Account) -> None:
        await gate.wait()
        written.append(account)

    exposure = Exposure(write)
    first = asyncio.create_task(exposure.cover(Decimal(1)))
    await asyncio.sleep(0)
    first.cancel()
    second = asyncio.create_task(exposure.cover(Decimal(5)))
    await asyncio.sleep(0)
    gate.set()
    await second

    assert [account.exposed_usd for account in written] == sorted(account.exposed_usd for account in written)
    assert written[-1].exposed_usd >= 5


async def test_a_request_that_comes_in_the_turn_in_which_a_write_ends_gets_a_write_of_its_own() -> None:
    written: list[Account] = []
    gate = asyncio.Event()

    async def write(account: Account) -> None:
        await gate.wait()
        written.append(account)

    async def come_at_once() -> None:
        await gate.wait()
        await exposure.cover(Decimal(5))

    exposure = Exposure(write)
    first = asyncio.create_task(exposure.cover(Decimal(1)))
    for _ in range(3):
        await asyncio.sleep(0)
    second = asyncio.create_task(come_at_once())
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, second)

    assert [account.exposed_usd for account in written] == [Decimal("1.125"), Decimal("6.75")]


def answer(custom_id: str, usd: str, at: float, *, is_estimated: bool = False) -> Completion:
    usage = Usage(10, 0, 5, is_estimated=is_estimated)
    return Completion(custom_id, "yes", None, "m", "stop", usage, Decimal(usd), 0.1, 1, "r", at)


def failure(custom_id: str, usd: str, at: float) -> Failure:
    return Failure(custom_id, "invalid_response", "no", 200, 1, None, Usage(10, 0, 5), Decimal(usd), 0.1, at)


A, B = f"{'a' * 32}-{'1' * 8}", f"{'b' * 32}-{'2' * 8}"


@given(
    st.lists(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans(), st.integers(1, 3), st.integers(1, 3)))),
    st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.booleans(), st.integers(1, 3), st.integers(1, 3))),
)
def test_planned_answers_count_as_any_others_do(
    files: list[list[tuple[str, bool, int, int]]], planned: dict[str, tuple[bool, int, int]]
) -> None:
    """In whatever files copies of an answer lie, and whichever of them a run reads as it publishes."""

    def results(rows: list[tuple[str, bool, int, int]]) -> pa.Table:
        made = [
            (failure if is_failure else answer)(f"{name * 32}-{name * 8}", str(usd), at)
            for name, is_failure, usd, at in rows
        ]
        return answers_table(made)

    chunk = results([(name, *rest) for name, rest in planned.items()])
    apart, together = KeptMoney(), KeptMoney()
    for rows in files:
        apart.add(results(rows))
        together.add(results(rows))
    apart.add_planned(chunk)
    together.add(chunk)

    assert apart.sums() == together.sums()


@pytest.mark.parametrize(
    ("files", "known", "at_most"),
    [
        pytest.param([[answer(A, "1", 1)], [answer(A, "1", 1), answer(B, "2", 1)]], "3", "3", id="a-copy-counts-once"),
        pytest.param(
            [[failure(A, "1", 1)], [answer(A, "3", 2)]], "3", "3", id="a-retried-failure-is-part-of-its-answer"
        ),
        pytest.param([[answer(A, "1", 1)], [answer(A, "3", 2)]], "3", "4", id="two-answers-may-both-be-paid-for"),
        pytest.param([[answer(A, "1", 1, is_estimated=True)]], "0", "1", id="what-we-counted-ourselves-is-not-known"),
        pytest.param([], "0", "0", id="nothing"),
    ],
)
def test_each_answer_counts_once(files: list[list[Result]], known: str, at_most: str) -> None:
    money = KeptMoney()
    for results in files:
        money.add(answers_table(results))

    found = audit_of(books(money.sums()))

    assert (found.known_usd, found.at_most_usd) == (Decimal(known), Decimal(at_most))


def test_rows_that_failed_without_a_cost_are_not_called_paid_for() -> None:
    money = KeptMoney()
    money.add(answers_table([failure("a", "0", 1.0), failure("b", "0.5", 1.0), failure("c", "0", 1.0)]))
    [row] = [row for row in audit_of(books(money.sums())).rows if row.name == "failed, and paid for"]

    assert (row.rows, row.known_usd) == (1, Decimal("0.5"))


def test_a_slice_of_a_table_has_its_own_money() -> None:
    table = answers_table([answer(A, "1", 1), answer(B, "2", 1)])
    money = KeptMoney()

    money.add_planned(pa.concat_tables([table.slice(1, 1), table.slice(0, 1)]).slice(1))

    assert money.sums().known_usd == 1


@pytest.mark.parametrize(
    ("batch", "known", "at_most"),
    [
        pytest.param(BatchMoney("k", 2, Decimal(5), "submitted"), 0, 5, id="a-live-batch-may-cost-what-is-reserved"),
        pytest.param(BatchMoney("k", 2, Decimal(5), "dropped"), 0, 0, id="a-dropped-batch-costs-nothing"),
        pytest.param(
            BatchMoney("k", 2, Decimal(5), "collected", uncertain_usd=Decimal(2)), 0, 2, id="lines-that-were-lost"
        ),
        pytest.param(
            BatchMoney("k", 2, Decimal(6), "collected", completed=1), 0, 3, id="a-request-that-ran-and-brought-no-line"
        ),
        pytest.param(
            BatchMoney("k", 2, Decimal(6), "dropped", completed=1), 0, 6, id="a-batch-that-failed-after-it-had-run"
        ),
        pytest.param(
            BatchMoney("k", 2, Decimal(6), "dropped", batch_id="b", status="in_progress"), 0, 6, id="given-up-at-work"
        ),
        pytest.param(
            BatchMoney("k", 2, Decimal(6), "dropped", batch_id="b", status="failed"), 0, 0, id="refused-unseen"
        ),
        pytest.param(
            BatchMoney("k", 2, Decimal(5), "collected", told_tokens=(2_000_000, 0), counted_tokens=(0, 0)),
            0,
            prices_for("gpt-6-luna", None).tokens_usd(2_000_000, 0, "batch"),
            id="the-provider-tells-more-than-the-lines",
        ),
    ],
)
def test_a_batch_counts_what_it_may_cost(batch: BatchMoney, known: int, at_most: Decimal) -> None:
    found = audit_of(books(KeptSums(), batches=(batch,)), prices_for("gpt-6-luna", None))

    assert (found.known_usd, found.at_most_usd) == (known, at_most)
