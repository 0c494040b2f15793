"""What the command says of itself, and what the doctor says where a worker is missing."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import typer.core
from typer.testing import CliRunner

from flows.__main__ import app
from flows.command import console
from promptmill.errors import SetupError, TooManyFailures
from promptmill.version import VERSION
from tasks.server.checks import worker_remedy
from tests.support.paths import ROOT


def usage(*words: str) -> str:
    """The first line of a command's help."""
    shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"}).output
    return next(line for line in shown.splitlines() if "Usage:" in line)


@pytest.mark.parametrize(
    ("words", "ending"),
    [
        pytest.param(("doctor",), "[OPTIONS] [JOB]", id="doctor"),
        pytest.param(("batches", "status"), "[OPTIONS] [JOB]", id="status"),
        pytest.param(("batches", "import"), "{RESULTS}...", id="import"),
    ],
)
def test_help_shows_an_optional_argument_in_one_pair_of_brackets(words: tuple[str, ...], ending: str):
    assert usage(*words).strip().endswith(ending)


def test_the_simulator_names_the_command_that_was_typed_and_its_defaults(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["promptmill", "simulate", "--help"])
    shown = CliRunner().invoke(app, ["simulate", "--help"], env={"COLUMNS": "200"}).output

    assert shown.startswith("usage: promptmill simulate ")
    assert "error_500=0.0" in shown
    assert "(default: 8080)" in shown


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        pytest.param("process", "Run: python deployments/serve.py --worker", id="process"),
        pytest.param("docker", "Run: prefect worker start --pool ours (", id="docker"),
        pytest.param("kubernetes", "with prefect-kubernetes installed", id="kubernetes"),
    ],
)
def test_the_remedy_for_a_missing_worker_fits_the_type_of_its_pool(kind: str, command: str):
    assert command in worker_remedy("ours", kind)


def test_the_version_is_told_alone():
    assert CliRunner().invoke(app, ["--version"]).output == f"promptmill {VERSION}\n"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        pytest.param("promptmill es", "estimate", id="command"),
        pytest.param("promptmill run --retry", "--retry-failed", id="option"),
        pytest.param("promptmill run --mode b", "batch", id="value"),
    ],
)
def test_the_shell_is_offered_commands_options_and_values(words: str, offered: str):
    asked = {"_PROMPTMILL_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}

    assert CliRunner().invoke(app, [], env=asked, prog_name="promptmill").output.split() == [offered]


LOUDNESS = """
import logging, sys
from flows.command import console
from flows.command.doing import doing
from promptmill.runs.showing import has_room
console.choose_loudness(is_verbose="-v" in sys.argv, is_quiet="-q" in sys.argv)
console.show_log()
with doing("step") as told:
    told.line("line")
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logging.getLogger("promptmill").log(level, logging.getLevelName(level))
    console.say("result")
print(has_room())
"""


@pytest.mark.parametrize(
    ("option", "told"),
    [
        pytest.param("-q", ["ERROR", "result"], id="quiet"),
        pytest.param("-v", ["step", "line", "DEBUG", "INFO", "WARNING", "ERROR", "result"], id="verbose"),
    ],
)
def test_a_person_is_told_as_much_as_they_asked_for(option: str, told: list[str]):
    shown = subprocess.run(
        [sys.executable, "-c", LOUDNESS, option], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert [line.split()[-1] for line in shown.stderr.splitlines()] == told
    assert shown.stdout == "False\n"  # no display beside the lines


def test_more_and_less_at_once_is_refused():
    assert isinstance(CliRunner().invoke(app, ["-v", "-q", "check", "job.yaml"]).exception, SetupError)


def commands(group: typer.core.TyperGroup, prefix: str = "") -> Iterator[tuple[str, set[str]]]:
    """Every command with the options that it has of its own."""
    for name, command in group.commands.items():
        if isinstance(command, typer.core.TyperGroup):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield prefix + name, {option for found in command.params for option in found.opts if option[0] == "-"}


def test_the_page_of_commands_lists_each_with_its_options():
    rows = [line.split("|")[1:3] for line in (ROOT / "docs/commands.md").read_text().splitlines() if line[:3] == "| `"]
    listed = {
        re.sub(r" [\[A-Z].*", "", command.strip(" `")): set(re.findall(r"`(-\S+)`", told)) for command, told in rows
    }
    group = typer.main.get_command(app)

    assert isinstance(group, typer.core.TyperGroup)
    assert listed == dict(commands(group))


def test_the_worker_of_a_checkout_is_named_only_in_a_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("tasks.server.checks._OUR_WORKER", tmp_path / "serve.py")

    assert worker_remedy("ours", "process").endswith("Run: promptmill worker --pool ours")


@pytest.mark.parametrize(
    ("is_passing", "words", "end"),
    [
        pytest.param(
            False,
            ["run", "my job.yaml", "--set", "budget_usd=2"],
            "go on with:\n  promptmill run 'my job.yaml' --set budget_usd=2 --retry-failed\n",
            id="asked-again-by-an-option",
        ),
        pytest.param(True, ["run", "job.yaml"], "go on with:\n  promptmill run job.yaml\n", id="asked-again-unasked"),
        pytest.param(
            False,
            ["run", "job.yaml", "--retry-failed"],
            "go on with:\n  promptmill run job.yaml --retry-failed\n",
            id="option-given",
        ),
        pytest.param(
            False, ["batches", "advance"], "or raise max_failure_ratio: what was answered is kept.\n", id="no-run"
        ),
    ],
)
def test_too_many_failures_are_told_with_the_exact_command_that_goes_on(
    is_passing: bool, words: list[str], end: str, capsys: pytest.CaptureFixture[str]
):
    console.show_error(TooManyFailures.with_way_on("9 of 9 rows failed.", is_passing=is_passing), words)

    assert capsys.readouterr().err.endswith(end)
