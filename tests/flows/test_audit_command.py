"""`promptmill audit`, as a person types it, and the same table in the report and in the Prefect UI."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from promptmill.output.manifest import REPORT
from promptmill.provider.transport import Credentials
from tasks.run.publish import summary_text
from tests.support.commands import command
from tests.support.echoing import Reply, answering
from tests.support.jobs import MakeJob, carry_out


def typed(*words: str | Path, base_url: str | None = None) -> tuple[int, Any, str]:
    """A command's exit code, the JSON that it printed and what it said."""
    process = command(*words, "--json", api_url="", base_url=base_url)
    printed, said = process.communicate(timeout=60)
    return process.returncode, json.loads(printed.splitlines()[-1]) if printed else None, said


def accounts(output: str) -> list[dict[str, Any]]:
    """What the processes of an output's runs wrote down."""
    return [json.loads(path.read_bytes()) for path in Path(output, "_checkpoints/ledger").glob("run-*.json")]


async def test_an_output_and_its_job_file_tell_the_same_as_report_and_artifact(
    make_job: MakeJob, credentials: Credentials, tmp_path: Path
):
    job = make_job(20, tags={"team": "search"})
    (tmp_path / "job.json").write_text(job.model_dump_json())
    manifest = await carry_out(job, credentials)
    code, found, said = typed("audit", job.output.url)

    assert code == 0, said
    assert found == typed("audit", tmp_path / "job.json")[1] == manifest.audit
    assert found["known_usd"] == found["at_most_usd"] == f"{manifest.cost_usd.normalize():f}"
    assert f"The provider's bill lies between ${found['known_usd']}" in said
    assert (found["tags"], "Tags: team=search." in said) == ({"team": "search"}, True)
    assert {account["tags"]["team"] for account in accounts(job.output.url)} == {"search"}
    assert f"between ${found['known_usd']} and" in Path(job.output.url, REPORT).read_text()
    assert "| delivered | 20 |" in summary_text(manifest, job.output.url, {})


async def test_with_an_admin_key_the_costs_report_stands_beside_the_bounds(
    make_job: MakeJob, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-admin-0123456789")
    job = make_job(20)
    await carry_out(job, credentials)
    result = {"amount": {"value": 0.75, "currency": "usd"}, "line_item": f"{job.request.model}, input_tokens"}
    page = {"data": [{"start_time": 1_795_737_600, "results": [result]}], "has_more": False, "next_page": None}
    with answering(lambda _: Reply(200, json.dumps(page).encode())) as provider:
        code, found, said = typed("audit", job.output.url, base_url=provider.url)
    away = typed("audit", job.output.url, base_url=provider.url)

    assert (code, found["provider_costs"]["reported_usd"]) == (0, "0.75"), said
    assert Decimal(found["provider_costs"]["difference_usd"]) == Decimal("0.75") - Decimal(found["at_most_usd"])
    words = " ".join(said.split())
    assert "more than this output can have cost: other work used" in words
    assert (away[0], away[1]["provider_costs"], "gave no costs report" in " ".join(away[2].split())) == (0, None, True)


def test_a_folder_without_an_output_is_told_in_a_sentence(tmp_path: Path):
    code, _, said = typed("audit", tmp_path / "none")

    assert (code, "nothing was paid for there" in said, "Traceback" in said) == (2, True, False), said
