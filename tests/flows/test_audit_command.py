"""`promptmill audit`, as a person types it, and the same table in the report and in the Prefect UI."""

import json
from pathlib import Path
from typing import Any

from promptmill.output.manifest import REPORT
from promptmill.provider.transport import Credentials
from tasks.run.publish import summary_text
from tests.support.commands import command
from tests.support.jobs import MakeJob, carry_out


def typed(*words: str | Path) -> tuple[int, Any, str]:
    """A command's exit code, the JSON that it printed and what it said."""
    process = command(*words, "--json", api_url="", base_url=None)
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


def test_a_folder_without_an_output_is_told_in_a_sentence(tmp_path: Path):
    code, _, said = typed("audit", tmp_path / "none")

    assert (code, "nothing was paid for there" in said, "Traceback" in said) == (2, True, False), said
