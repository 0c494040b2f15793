"""Asking before an expensive run: what counts as still to pay, and what a budget in the answer changes."""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from promptmill.approval import NotApproved, cap_budget, needs_approval, unpaid_usd
from promptmill.simulator import Simulator
from promptmill.transport import Credentials
from tests.conftest import MakeJob, carry_out, plan


async def test_only_what_is_not_answered_yet_is_still_to_pay(make_job: MakeJob, credentials: Credentials):
    whole = plan(make_job(40), credentials)
    before = unpaid_usd(whole)
    await carry_out(make_job(40, input__limit=20), credentials)
    after = unpaid_usd(plan(make_job(40), credentials))

    assert whole.preflight is not None
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
def test_a_person_is_asked_above_the_limit_only(
    limit: str | None, unpaid: str, asks: bool, make_job: MakeJob, credentials: Credentials
):
    run = plan(make_job(10, approve_above_usd=limit), credentials)

    assert needs_approval(run, Decimal(unpaid)) is asks


@pytest.mark.parametrize(
    ("own", "answered", "expected"),
    [pytest.param(None, "3", "3", id="none-before"), pytest.param("2", "3", "2", id="never-raised")],
)
def test_an_answer_may_lower_the_budget(
    own: str | None, answered: str, expected: str, make_job: MakeJob, credentials: Credentials
):
    run = plan(make_job(10, budget_usd=own), credentials)
    cap_budget(run, Decimal(answered))

    assert run.prepared.job.budget_usd == Decimal(expected)


def test_an_answer_that_pays_for_nothing_is_a_no(make_job: MakeJob, credentials: Credentials):
    with pytest.raises(NotApproved, match="pays for no request"):
        cap_budget(plan(make_job(10), credentials), Decimal(0))


def test_the_command_refuses_until_somebody_says_yes(make_job: MakeJob, simulator: Simulator, tmp_path: Path):
    job = make_job(10, approve_above_usd="0.000001")
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job.model_dump(mode="json")))
    command = [sys.executable, "-m", "flows", "run", str(tmp_path / "job.yaml")]
    environment = {
        "PATH": "",
        "HOME": str(tmp_path),
        "OPENAI_API_KEY": "test",
        "OPENAI_BASE_URL": simulator.base_url,
    }
    refused = subprocess.run(command, env=environment, capture_output=True, check=False)
    sent = simulator.ledger()["tiers"]
    approved = subprocess.run([*command, "--approve"], env=environment, capture_output=True, check=False)

    assert (refused.returncode, sent) == (2, {}), refused.stderr.decode()
    assert b"approve_above_usd" in refused.stderr
    assert approved.returncode == 0, approved.stderr.decode()
