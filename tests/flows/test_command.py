"""What the command says of itself, and what the doctor says where a worker is missing."""

import sys

import pytest
from typer.testing import CliRunner

from flows.__main__ import app
from tasks.server.checks import worker_remedy


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
