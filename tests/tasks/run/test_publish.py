"""What our events and assets say of a run."""

from pathlib import Path

import pytest

from promptmill.provider.transport import Credentials
from promptmill.runs.run import run_plainly
from tasks.run.publish import describe_output
from tests.support.jobs import MakeJob, plan


async def test_an_event_names_a_place_that_a_flow_in_another_folder_finds(
    make_job: MakeJob, credentials: Credentials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    run = plan(make_job(5, output={"url": "answers"}), credentials)
    told = describe_output((await run_plainly(run)).manifest, run.prepared.output.url)

    assert told["manifest_url"] == str(tmp_path / "answers" / "_manifest.json")
    assert Path(told["manifest_url"]).exists()
