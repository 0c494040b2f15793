"""A wrong address or key ends each command before a row is stored, and the corrected command finds nothing in its way."""

import sys
from pathlib import Path

import pandas as pd
import pytest

import promptmill
from benchmarks.rig import free_port
from flows.__main__ import main
from flows.command.doing import Doing
from promptmill.errors import ProviderUnreachable
from promptmill.simulator import Simulator
from tests.support.commands import write_job
from tests.support.jobs import MakeJob


@pytest.fixture
def dead(monkeypatch: pytest.MonkeyPatch) -> str:
    """The environment of a person who mistyped the address; returns the address."""
    address = f"http://127.0.0.1:{free_port()}/v1"
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    monkeypatch.setattr("promptmill.provider.first_contact._PAUSE_SECONDS", 0.0)
    return address


@pytest.mark.parametrize("words", [("run",), ("sample", "-n", "2")], ids=["run", "sample"])
def test_a_command_to_a_dead_address_stores_nothing_and_exits_with_2(
    words: tuple[str, ...],
    dead: str,
    make_job: MakeJob,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    job = make_job(3)
    monkeypatch.setattr(sys, "argv", ["promptmill", words[0], str(write_job(job, tmp_path)), *words[1:]])
    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 2
    assert f"nobody answers at {dead}" in capfd.readouterr().err
    assert not list(Path(job.output.url).rglob("*.parquet"))


def test_check_says_that_a_run_would_end_at_once(
    dead: str, make_job: MakeJob, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.command.local import check_job

    monkeypatch.setenv("COLUMNS", "500")
    check_job(make_job(3), Doing(None))
    shown = capfd.readouterr().out

    assert f"provider nobody answers at {dead}" in shown
    assert "a run would end at once" in shown


def test_the_corrected_command_answers_every_row(
    dead: str, make_job: MakeJob, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(3)
    frame = pd.read_parquet(job.input.urls[0])
    with pytest.raises(ProviderUnreachable):
        promptmill.run(frame, job)
    monkeypatch.setenv("OPENAI_BASE_URL", simulator.base_url)

    assert len(promptmill.run(frame, job).answers) == 3
