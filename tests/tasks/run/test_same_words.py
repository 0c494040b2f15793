"""Every number of a run says the same wherever a person reads it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.command.console import show_manifest
from promptmill.errors import BudgetExhausted, RunStopped, TooManyFailures
from promptmill.number_words import count, usd
from promptmill.output.manifest import manifest_values
from promptmill.output.summary import describe_retries, figures
from promptmill.provider.transport import Credentials
from promptmill.runs.chunk import complete_chunk
from promptmill.runs.chunk_loop import drive_chunks
from promptmill.runs.display import Display, describe_progress
from promptmill.runs.run import answering, publish_run
from promptmill.simulator import Simulator
from tasks.run.markdown import escape_markdown
from tasks.run.publish import summary_text
from tests.support.jobs import MakeJob, plan


async def test_panel_summary_report_and_artifact_word_each_number_alike(
    make_job: MakeJob,
    credentials: Credentials,
    simulator: Simulator,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    simulator.configure(error_500=1.0, fault_attempts=1)  # each row's first attempt fails
    job = make_job(
        [None, "b", *"cdefghijkl"], request__user="{{ text + '' }}", output__compare={"label": "text"}, budget_usd=3
    )
    run = plan(job, credentials)
    async with answering(run) as engine:
        await drive_chunks(engine, complete_chunk, complete_chunk)
        panel = dict(part.split(" ", 1) for part in describe_progress(engine, engine.progress.snapshot()).split(" · "))
        manifest = (await publish_run(run, engine)).manifest
    show_manifest(manifest_values(manifest), job.output.url, as_json=False)
    summary = capsys.readouterr().out
    report = Path(job.output.url, "_report.html").read_text()
    artifact = summary_text(manifest, job.output.url, {})
    shown = {figure.name: figure for figure in figures(manifest)}

    for figure in shown.values():
        assert figure.line in summary
        assert f"<span>{figure.name}</span><b>{figure.value}</b>" in report
        assert f"| {escape_markdown(figure.name)} | {escape_markdown(figure.value)} |" in artifact
    assert panel["rows"] == f"{shown['rows'].value} of {shown['rows'].value}"
    assert panel["failed"] == shown["failed"].value == count(manifest.failed) == "1"
    assert panel["cost"].startswith(f"{shown['cost'].value}, ")
    assert f"budget {usd(3)}" in panel["cost"]
    assert f"budget {usd(3)}" in shown["cost"].detail
    assert panel["retries"] == describe_retries(manifest.retries_by_kind)
    assert shown["requests"].detail.endswith(f"retries {panel['retries']}")
    assert manifest.retries_by_kind == {"server_error": manifest.attempts - manifest.requests_sent}


@given(st.dictionaries(st.sampled_from(["rate_limited", "timeout", "connection", "a", "b"]), st.integers(1, 10**9)))
def test_retries_are_told_in_all_and_by_kind(by_kind: dict[str, int]):
    told = describe_retries(by_kind)

    assert told.startswith(count(sum(by_kind.values())))
    assert all(f"{count(times)} {kind}" in told for kind, times in list(by_kind.items())[:3])


@pytest.mark.parametrize(
    ("reason", "is_left"),
    [
        pytest.param(None, False, id="the-summary-follows"),
        pytest.param(TooManyFailures("10 of 10 rows failed"), False, id="the-error-says-how-far"),
        pytest.param(BudgetExhausted("no more"), True, id="nothing-else-says-how-far"),
    ],
)
async def test_the_panel_stays_only_where_nothing_else_says_how_far_the_run_came(
    reason: RunStopped | None,
    is_left: bool,
    make_job: MakeJob,
    credentials: Credentials,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with answering(plan(make_job(3), credentials)) as engine:
        shown = Display(engine)
        with shown:
            shown.update(engine.progress.snapshot())
            if reason is not None:
                engine.stop.because(reason)

    assert shown.is_left is is_left
