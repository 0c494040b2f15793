"""Nothing that a row or a provider says steers the terminal that shows it."""

import io
import json
import logging
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from flows.command import console
from promptmill.printable import printable, printable_json
from promptmill.simulator import Simulator
from promptmill.terminal import Terminal
from tests.support.examples import examples
from tests.support.jobs import MakeJob

STEERING = {
    "title": "\x1b]0;owned\x07",
    "clear": "\x1b[2J\x1b[H",
    "link": "\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\",
    "clipboard": "\x1b]52;c;b3duZWQ=\x07",
    "csi-in-one": "\x9b2J",
    "osc-in-one": "\x9d0;owned\x9c",
    "carriage-return": "failed\rfine",
    "backspace": "no\b\byes",
    "override": "\u202etxt.exe",
    "isolate": "\u2066abc\u2069",
    "mark": "a\u200fb",
    "surrogate": "\ud800",
    "null": "a\x00b",
    "delete": "a\x7fb",
    "line-separator": "a\u2028b",
}
BAD = set(range(0x20)) - {0x09, 0x0A} | set(range(0x7F, 0xA0))


def is_safe(text: str) -> bool:
    """Whether a text holds no control character but tab and line feed, and nothing that turns text around."""
    turns = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return not any(ord(sign) in BAD or unicodedata.bidirectional(sign) in turns for sign in text)


@given(st.text(st.characters(codec=None, categories=("Cc", "Cf", "Cs", "Lu", "Zl", "Zp", "Zs")), max_size=30))
def test_no_text_steers_a_terminal_once_it_is_printable(text: str) -> None:
    shown = printable(text)

    assert is_safe(shown)
    assert printable(shown) == shown
    shown.encode()


@settings(max_examples=examples(50))
@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_json_for_a_terminal_means_the_same(text: str) -> None:
    shown = printable_json(json.dumps({text: text}, ensure_ascii=False))

    assert json.loads(shown) == {text: text}
    assert is_safe(shown)


@pytest.mark.parametrize("text", ["plain", "tab\there", "two\nlines", "ümläut 漢字 🙂", "Straße – „ja“"])
def test_a_text_that_steers_nothing_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("text", STEERING.values(), ids=list(STEERING))
def test_whatever_the_terminal_draws_is_safe(text: str) -> None:
    drawn = io.StringIO()
    table = Table(title=escape(text))
    table.add_column(escape(text))
    table.add_row(escape(text))
    Terminal(file=drawn, width=200).print(escape(text), table, Panel(escape(text), title=escape(text)), markup=True)

    assert is_safe(drawn.getvalue())


def test_the_terminals_own_colours_stay() -> None:
    drawn = io.StringIO()
    Terminal(file=drawn, force_terminal=True, color_system="standard").print("[red]failed[/]")

    assert drawn.getvalue() == "\x1b[31mfailed\x1b[0m\n"


@pytest.mark.parametrize("text", STEERING.values(), ids=list(STEERING))
def test_whatever_the_command_says_or_logs_is_safe(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    from promptmill.errors import JobError

    batch = dict.fromkeys(("requests", "completed", "failed"), 0) | {
        "id": "b",
        "state": text,
        "status": text,
        "note": text,
    }
    console.say(text)
    console.show_error(JobError(text))
    console.show_finding(False, "name", text)
    console.show_batches([batch])
    console.show_crash(ValueError(text))
    console.print_json({"text": text.encode(errors="ignore").decode()})
    logger, lines = logging.getLogger("promptmill"), io.StringIO()
    handler = logging.StreamHandler(lines)
    logger.addHandler(handler)
    logger.warning("a row says %s", text)
    logger.removeHandler(handler)

    said = capsys.readouterr()
    assert is_safe(said.err + said.out + lines.getvalue())


def test_a_sample_of_rows_that_steer_is_safe_to_look_at(
    make_job: MakeJob,
    simulator: Simulator,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    from flows.command.doing import Doing
    from flows.command.local import check_job, sample_job

    monkeypatch.setenv("OPENAI_API_KEY", "test-key")
    monkeypatch.setenv("OPENAI_BASE_URL", simulator.base_url)
    monkeypatch.setenv("COLUMNS", "300")
    request = {**make_job(1).request.model_dump(mode="json"), "response_schema": None, "user": "{{ text }}"}
    job = make_job([text for text in STEERING.values() if "\ud800" not in text], request=request)
    sample_job(job, 20, as_json=True, wait=True, doing=Doing(None))
    check_job(job, Doing(None))

    said = capsys.readouterr()
    assert is_safe(said.err + said.out)
    assert "\\x1b]0;owned" in said.err
