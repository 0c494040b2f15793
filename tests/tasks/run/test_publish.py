"""What our events and assets say of a run."""

from dataclasses import replace
from pathlib import Path

import pytest

from promptmill.provider.transport import Credentials
from promptmill.runs.plain import run_plainly
from tasks.run.publish import describe_end, describe_output, input_assets, summary_text
from tests.support.jobs import MakeJob, plan


async def test_an_event_names_a_place_that_a_flow_in_another_folder_finds(
    make_job: MakeJob, credentials: Credentials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    run = plan(make_job(5, output={"url": "answers"}), credentials)
    told = describe_output((await run_plainly(run)).manifest, run.prepared.output.url)

    assert told["manifest_url"] == str(tmp_path / "answers" / "_manifest.json")
    assert Path(told["manifest_url"]).exists()


@pytest.mark.parametrize(
    ("urls", "keys"),
    [
        pytest.param(["s3://lake/in/"], ["s3://lake/in"], id="a-folder-as-its-writer-names-it"),
        pytest.param(["s3://lake/in/*.csv", "s3://b/c"], ["s3://lake/in/*.csv", "s3://b/c"], id="a-list"),
        pytest.param(["https://u:secret@host/a.csv"], ["https://host/a.csv"], id="without-a-secret"),
        pytest.param(["https://host/a.csv?sig=secret"], [], id="no-key-of-an-asset"),
        pytest.param([f"s3://lake/{number}" for number in range(99)], [f"s3://lake/{n}" for n in range(20)], id="many"),
    ],
)
def test_an_output_names_what_it_was_made_from(urls: list[str], keys: list[str]):
    assert [asset if isinstance(asset, str) else asset.key for asset in input_assets(urls)] == keys


def test_an_input_on_this_machine_is_named_as_the_output_of_the_run_that_wrote_it(tmp_path: Path):
    (asset,) = input_assets([f"{tmp_path}/out/"])

    assert not isinstance(asset, str)
    assert asset.key == f"file://{tmp_path}/out"


async def test_the_summary_tells_the_accuracy_and_leads_to_the_report_of_a_finished_run(
    make_job: MakeJob, credentials: Credentials, tmp_path: Path
):
    run = plan(
        make_job(["good", "bad"], output={"url": str(tmp_path / "out"), "compare": {"label": "text"}}), credentials
    )
    manifest = (await run_plainly(run)).manifest
    served = {"PROMPTMILL_WEB_URLS": f"{tmp_path}=https://files.test"}
    link = "[**Open the report**](<https://files.test/out/_report.html>)"

    assert manifest.accuracy is not None
    assert "accuracy of label" in describe_end(manifest)
    assert link in summary_text(manifest, f"{tmp_path}/out/", served)
    assert "report: " in summary_text(manifest, f"{tmp_path}/out", {})
    assert "report" not in summary_text(replace(manifest, state="failed"), f"{tmp_path}/out", served)
