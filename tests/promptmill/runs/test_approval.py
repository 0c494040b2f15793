"""Asking before an expensive run: what counts as still to pay, and what a budget in the answer changes."""

from decimal import Decimal
from pathlib import Path

import pytest

from promptmill.checkpoints.spend import SpendRecords
from promptmill.errors import BudgetExhausted, OutputError
from promptmill.job.spec import Job
from promptmill.limits.approved_cap import write_approved
from promptmill.provider.transport import Credentials
from promptmill.runs.approval import NotApproved, is_answered, keep_approval, left_usd, needs_approval, unpaid_usd
from promptmill.sharding.split import split_run
from promptmill.simulator import Simulator
from tests.support.batching import carry_batches
from tests.support.commands import command, write_job
from tests.support.jobs import MakeJob, carry_out, plan


async def test_unpaid_counts_only_rows_without_an_answer(make_job: MakeJob, credentials: Credentials):
    whole = plan(make_job(40), credentials)
    before = unpaid_usd(whole)
    await carry_out(make_job(40, input__limit=20), credentials)
    after = unpaid_usd(plan(make_job(40), credentials))

    assert before == whole.preflight.estimate.online_usd.quantize(Decimal("0.000001"))
    assert Decimal("0.4") < after / before < Decimal("0.6")


@pytest.mark.parametrize(
    ("limit", "unpaid", "asks"),
    [
        pytest.param(None, "100", False, id="never"),
        pytest.param("5", "5", False, id="at-the-limit"),
        pytest.param("5", "5.000001", True, id="above"),
        pytest.param("0", "0", False, id="nothing-to-pay"),
    ],
)
def test_a_person_is_asked_only_above_the_limit(
    limit: str | None, unpaid: str, asks: bool, make_job: MakeJob, credentials: Credentials
):
    run = plan(make_job(10, approve_above_usd=limit), credentials)

    assert needs_approval(run, Decimal(unpaid)) is asks


@pytest.mark.parametrize(
    ("unpaid", "left", "asks"),
    [
        pytest.param("4", "4", False, id="it-covers-the-rest"),
        pytest.param("4", "3", True, id="it-covers-a-part"),
        pytest.param("6", "7", True, id="above-the-limit-all-the-same"),
    ],
)
def test_a_person_is_asked_again_when_too_little_is_left_of_the_approved_amount(
    unpaid: str, left: str, asks: bool, make_job: MakeJob, credentials: Credentials
):
    run = plan(make_job(10, approve_above_usd="5"), credentials)

    assert needs_approval(run, Decimal(unpaid), Decimal(left)) is asks


@pytest.mark.parametrize(
    ("own", "answered", "expected"),
    [
        pytest.param(None, "3", "3", id="none-before"),
        pytest.param("5", "3", "3", id="lowered"),
        pytest.param("2", "3", "2", id="never-raised"),
        pytest.param("5", None, "5", id="no-amount"),
    ],
)
def test_an_approved_amount_holds_for_this_run_and_later_runs(
    own: str | None, answered: str | None, expected: str, make_job: MakeJob, credentials: Credentials
):
    run = plan(make_job(10, budget_usd=own), credentials)
    run = keep_approval(run, None if answered is None else Decimal(answered), "run/0")
    later = plan(make_job(10, budget_usd=own), credentials)

    assert run.prepared.budget_usd == Decimal(expected)
    assert later.prepared.budget_usd == Decimal(expected)


def test_an_approved_amount_holds_against_a_higher_budget_until_the_next_approval(
    make_job: MakeJob, credentials: Credentials
):
    keep_approval(plan(make_job(10), credentials), Decimal(3))
    higher = plan(make_job(10, budget_usd="50"), credentials)
    keep_approval(plan(make_job(10), credentials), Decimal(4))
    approved_anew = plan(make_job(10, budget_usd="50"), credentials)
    keep_approval(plan(make_job(10), credentials), None)
    lifted = plan(make_job(10, budget_usd="50"), credentials)

    budgets = [one.prepared.budget_usd for one in (higher, approved_anew, lifted)]
    assert budgets == [3, 4, 50]
    assert any("approved for this output" in one for one in higher.preflight.warnings)


def test_spending_reduces_what_is_left_of_an_approved_amount(make_job: MakeJob, credentials: Credentials):
    run = plan(make_job(10), credentials)
    SpendRecords(run.prepared.store).write(Decimal(2))
    before = left_usd(run)
    run = keep_approval(run, Decimal(3))

    assert before is None
    assert left_usd(run) == 1


def test_an_approval_answers_only_the_question_that_was_asked(make_job: MakeJob, credentials: Credentials):
    keep_approval(plan(make_job(10), credentials), None, "run/0")
    later = plan(make_job(10), credentials)

    assert is_answered(later, "run/0")
    assert not is_answered(later, "run/1")


async def test_a_run_stops_at_the_approved_amount_and_says_who_set_it(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, tmp_path: Path
):
    probe = await carry_out(make_job(5, output={"url": str(tmp_path / "probe")}), credentials)
    simulator.reset()
    job = make_job(100, budget_usd="10")
    keep_approval(plan(job, credentials), probe.cost_usd * 6)

    with pytest.raises(BudgetExhausted, match="approved for this output on .* --approve"):
        await carry_out(job, credentials)
    with pytest.raises(BudgetExhausted, match="approved for this output"):
        await carry_out(job, credentials)

    assert 0 < simulator.ledger()["totals"]["requests"] < 100


async def test_a_batch_run_keeps_to_the_approved_amount(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
):
    job = make_job(10, budget_usd="10")
    keep_approval(plan(job, credentials), Decimal("0.000001"))

    with pytest.raises(BudgetExhausted, match="approved for this output"):
        await carry_batches(job, credentials)

    assert simulator.ledger()["tiers"] == {}


def test_the_shards_of_a_run_share_the_approved_amount(make_job: MakeJob, credentials: Credentials):
    run = plan(make_job(40, shards=2, budget_usd="5"), credentials)
    found = split_run(keep_approval(run, Decimal(1)))

    assert found is not None
    assert found.budgets_usd == [Decimal("0.5")] * 2


def test_an_approval_of_nothing_is_a_no(make_job: MakeJob, credentials: Credentials):
    with pytest.raises(NotApproved, match="pays for no request"):
        keep_approval(plan(make_job(10), credentials), Decimal(0))
    assert plan(make_job(10), credentials).prepared.approved is None


def test_a_damaged_record_of_an_approval_lifts_no_cap(make_job: MakeJob, credentials: Credentials):
    plan(make_job(10), credentials).prepared.store.storage.write("approved.json", b'{"cap_usd": "lots"}')

    with pytest.raises(OutputError, match=r"approved\.json is damaged"):
        plan(make_job(10), credentials)


def run_command(job: Job, api_url: str, simulator: Simulator, folder: Path, *options: str) -> tuple[int, str]:
    """How `promptmill run` ended, and what it said."""
    process = command("run", write_job(job, folder), *options, api_url=api_url, base_url=simulator.base_url)
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


def test_the_command_refuses_until_it_is_given_approve(
    prefect_url: str, make_job: MakeJob, simulator: Simulator, tmp_path: Path
):
    job = make_job(10, approve_above_usd="0.000001")
    refused, said = run_command(job, prefect_url, simulator, tmp_path)
    sent = simulator.ledger()["tiers"]
    approved, errors = run_command(job, prefect_url, simulator, tmp_path, "--approve")

    assert (refused, sent) == (2, {}), said
    assert "approve_above_usd" in said
    assert approved == 0, errors


def test_the_command_keeps_to_an_approved_amount_until_it_is_given_approve(
    prefect_url: str, make_job: MakeJob, credentials: Credentials, simulator: Simulator, tmp_path: Path
):
    job = make_job(10)
    write_approved(plan(job, credentials).prepared.store.storage, Decimal("0.000001"))
    stopped, said = run_command(job, prefect_url, simulator, tmp_path)
    approved, errors = run_command(job, prefect_url, simulator, tmp_path, "--approve")

    assert stopped == 3, said
    assert "promptmill run --approve" in said
    assert approved == 0, errors
