"""The campaign of faults: rounds are drawn from their seeds alone, and a bad history is judged bad."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from benchmarks.campaign.draw import KINDS, SERVED, WEIGHTS, draw_round
from benchmarks.campaign.judge import Audited, History, Look, Ran, judge

BODIES = ("a", "b", "c")
KILLED, DONE = Ran(-9, True, 3, False), Ran(0, False, 2, True)
GOOD = History(
    bodies=BODIES,
    ran=(KILLED, DONE),
    looks=(Look(frozenset({0}), {"a": 1, "b": 1}), Look(frozenset({0, 1, 2}), {"a": 1, "b": 2, "c": 1})),
    billed={"a": 1, "b": 2, "c": 1},
    outputs=(0, 1, 2),
    repeated_at_most=2,
)


def test_a_kill_may_have_what_was_in_flight_paid_for_again():
    verdict = judge(GOOD)

    assert verdict.findings == ()
    assert (verdict.repeated, verdict.repeated_at_most, verdict.paid_twice) == (1, 2, 0)


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        pytest.param({"outputs": (0, 2)}, "1 rows are in no output", id="row-lost"),
        pytest.param({"outputs": (0, 1, 1, 2)}, "1 rows are in the outputs more than once", id="row-twice"),
        pytest.param({"outputs": (0, 1, 2, 7)}, "1 rows of the outputs are not the input's", id="foreign-row"),
        pytest.param(
            {"billed": {"a": 2, "b": 1, "c": 1}},
            "1 rows were paid for again after their answer was delivered",
            id="paid-twice-after-delivery",
        ),
        pytest.param(
            {"billed": {"a": 1, "b": 4, "c": 1}, "looks": ()},
            "3 answers were paid for again; 1 interruptions allow 2",
            id="more-paid-again-than-a-kill-allows",
        ),
        pytest.param(
            {"ran": (DONE,), "looks": ()}, "1 answers were paid for again; 0 interruptions", id="paid-again-unkilled"
        ),
        pytest.param({"billed": {**GOOD.billed, "x": 1}}, "1 bodies were billed that no row has", id="foreign-body"),
        pytest.param(
            {"budget_usd": Decimal(3), "spent_usd": Decimal("3.51"), "overshoot_usd": Decimal("0.5")},
            "$3.51 was billed; the cap is $3 + $0.5",
            id="cap-passed",
        ),
        pytest.param(
            {"audits": (Audited(Decimal(2), Decimal(4), Decimal(3)),)}, "says $2 to $3; $4 was billed", id="bill-above"
        ),
        pytest.param(
            {"audits": (Audited(Decimal(2), Decimal(1), Decimal(3)),)}, "says $2 to $3; $1 was billed", id="bill-below"
        ),
        pytest.param(
            {"audits": (Audited(Decimal(2), Decimal(2), Decimal(9), Decimal(5)),)}, "$5 apart is allowed", id="too-wide"
        ),
        pytest.param({"left": ("process 7",)}, "processes were left behind: process 7", id="process-left"),
        pytest.param({"ran": (KILLED,)}, "the last command didn't complete the output", id="never-completes"),
        pytest.param(
            {"ran": (), "billed": {}, "looks": ()}, "the last command didn't complete the output", id="no-command"
        ),
    ],
)
def test_a_bad_history_is_judged_bad(changes: dict[str, Any], finding: str):
    (found,) = judge(replace(GOOD, **changes)).findings

    assert finding in found


@pytest.mark.parametrize(
    ("ran", "finding"),
    [
        pytest.param(Ran(None, False, 0, False), "didn't end", id="hangs"),
        pytest.param(Ran(1, False, 0, False, has_traceback=True), "printed a traceback", id="traceback"),
        pytest.param(Ran(7, False, 0, False), "exit code 7, which isn't documented", id="unknown-code"),
        pytest.param(Ran(-11, False, 0, False), "exit code -11, which isn't documented", id="died-by-itself"),
        pytest.param(Ran(-11, True, 0, False), "exit code -11, which isn't documented", id="died-before-it-was-killed"),
        pytest.param(Ran(-9, False, 0, False), "exit code -9, which isn't documented", id="killed-by-somebody-else"),
        pytest.param(Ran(0, False, 3, False), "without a complete output", id="complete-without-manifest"),
        pytest.param(Ran(2, False, 3, False), "says that nothing was sent, after 3 attempts", id="sent-with-code-2"),
        pytest.param(Ran(3, False, 3, False), "exit code 3 without a budget", id="code-3-without-budget"),
    ],
)
def test_a_command_that_ends_badly_is_found(ran: Ran, finding: str):
    (found,) = judge(replace(GOOD, ran=(KILLED, ran, DONE))).findings

    assert finding in found
    assert found.startswith("command 2 ")


@pytest.mark.parametrize(
    "ran",
    [
        pytest.param(Ran(1, False, 3, False), id="stopped"),
        pytest.param(Ran(2, False, 0, False), id="nothing-sent"),
        pytest.param(Ran(130, False, 3, False), id="interrupted"),
        pytest.param(Ran(0, True, 3, True), id="ended-before-it-was-killed"),
    ],
)
def test_a_command_may_end_as_documented(ran: Ran):
    assert judge(replace(GOOD, ran=(KILLED, ran, DONE))).findings == ()


def test_a_cap_may_be_met_exactly():
    stopped = Ran(3, False, 3, False)
    history = replace(GOOD, ran=(KILLED, stopped, DONE), budget_usd=Decimal(3), spent_usd=Decimal(3))

    assert judge(history).findings == ()


def test_two_runs_at_once_may_pay_for_no_row_twice():
    first_look = Look(frozenset({0}), {"a": 1})
    verdict = judge(replace(GOOD, ran=(DONE, DONE), looks=(first_look,), billed={"a": 2, "b": 2, "c": 1}))

    assert verdict.findings == (
        "1 rows were paid for again after their answer was delivered",
        "2 answers were paid for again; 0 interruptions allow 0",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_round_is_the_same_for_its_seed_and_kind(kind: str):
    drawn = [draw_round(seed, (kind,)) for seed in range(20)]

    assert drawn == [draw_round(seed, (kind,)) for seed in range(20)]
    assert len(set(drawn)) == 20
    assert {one.kind for one in drawn} == {kind}
    assert all(0 <= fault.at <= 1 and 0 <= fault.share <= 1 for one in drawn for fault in one.faults)


def test_a_round_of_any_kind_is_repeated_by_its_seed_and_its_kind():
    for seed in range(50):
        drawn = draw_round(seed)

        assert draw_round(seed, (drawn.kind,)) == drawn


def test_most_rounds_need_no_prefect_server():
    served = sum(WEIGHTS[kind] for kind in SERVED)

    assert 0 < served <= 0.1 * sum(WEIGHTS.values())
