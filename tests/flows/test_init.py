"""`promptmill init`: from a file of data to a job that runs."""

import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from flows.__main__ import main
from flows.command import console
from promptmill.simulator import Simulator

FLAGS = ("--data", "tickets.csv", "--prompt", "Which topic?", "--model", "gpt-6-luna")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with data in it."""
    rows = "".join(f"{number},ticket {number},{('bill', 'bug')[number % 2]}\n" for number in range(12))
    (tmp_path / "tickets.csv").write_text(f"id,text,topic\n{rows}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def type_command(monkeypatch: pytest.MonkeyPatch):
    """Types a command; returns its exit code."""

    def typed(*words: str) -> object:
        monkeypatch.setattr(sys, "argv", ["promptmill", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0

    return typed


def test_a_newcomer_comes_from_data_to_answers(
    folder: Path, type_command: Any, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
):
    assert type_command("init", *FLAGS) == 0
    job = yaml.safe_load((folder / "job.yaml").read_text())
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    monkeypatch.setenv("OPENAI_BASE_URL", simulator.base_url)

    assert job["output"] == {"url": "tickets-answers", "compare": {"topic": "topic"}}
    assert (folder / "promptmill.schema.json").exists()
    assert type_command("run", "job.yaml") == 0
    assert (folder / "tickets-answers/_report.html").exists()


def test_what_was_not_given_is_asked_in_a_terminal(folder: Path, type_command: Any, monkeypatch: pytest.MonkeyPatch):
    questions: list[str] = []
    answers = iter(["tickets.csv", "Which topic?", "a, b,a", "gpt-6-luna", "0.50"])

    def ask(question: str, **_: object) -> str:
        questions.append(question)
        return next(answers)

    monkeypatch.setattr(console, "is_dialog", lambda: True)
    monkeypatch.setattr(typer, "prompt", ask)

    assert type_command("init", "mine.yaml") == 0
    job = yaml.safe_load((folder / "mine.yaml").read_text())
    assert len(questions) == 5
    assert job["request"]["response_schema"]["properties"] == {"topic": {"type": "string", "enum": ["a", "b"]}}
    assert job["budget_usd"] == 0.5


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param((), "--data, --prompt, --model must be given", id="nobody-to-ask"),
        pytest.param((*FLAGS, "--budget", "much"), "'much' is no amount", id="no-amount"),
        pytest.param((*FLAGS[:1], "no.csv", *FLAGS[2:]), "no.csv", id="no-data"),
        pytest.param((*FLAGS[:5], ""), "request.model", id="no-model"),
    ],
)
def test_a_mistake_writes_no_file(
    words: tuple[str, ...], told: str, folder: Path, type_command: Any, capfd: pytest.CaptureFixture[str]
):
    assert type_command("init", *words) == 2
    assert told in capfd.readouterr().err
    assert not (folder / "job.yaml").exists()


def test_a_job_that_is_there_stays(folder: Path, type_command: Any):
    (folder / "job.yaml").write_text("mine")

    assert type_command("init", *FLAGS) == 2
    assert (folder / "job.yaml").read_text() == "mine"
    assert type_command("init", *FLAGS, "--overwrite") == 0
