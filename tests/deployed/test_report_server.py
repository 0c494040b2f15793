"""`make serve` serves reports to the browser on its machine, and no other file."""

from pathlib import Path

import pytest

from deployments.report_server import allowed_folders, read_report
from promptmill.provider.transport import Credentials
from promptmill.runs.plain import run_plainly
from tests.support.jobs import MakeJob, plan


async def test_a_report_of_ours_in_an_allowed_folder_is_served_and_nothing_else(
    make_job: MakeJob, credentials: Credentials, tmp_path: Path
) -> None:
    await run_plainly(plan(make_job(3), credentials))
    folders = allowed_folders(f"s3://lake/, file://{tmp_path}/out,{tmp_path}/linked,relative")
    report, secret = tmp_path / "out/_report.html", tmp_path / "secret.html"
    secret.write_text('<span class="state')
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/_report.html").symlink_to(secret)
    foreign = tmp_path / "out/other/_report.html"
    foreign.parent.mkdir()
    foreign.write_text("not ours")

    assert folders == (tmp_path / "out", tmp_path / "linked")
    assert read_report(str(report), folders) == report.read_bytes()
    assert [read_report(str(path), folders) for path in (secret, foreign, tmp_path / "linked/_report.html")] == [
        None
    ] * 3
    assert read_report(str(report), (tmp_path / "linked",)) is None


@pytest.mark.parametrize("path", ["", "/", "\0", "/no/_report.html", "../_report.html"])
def test_a_path_without_a_report_is_none(path: str, tmp_path: Path) -> None:
    assert read_report(path, (tmp_path,)) is None
