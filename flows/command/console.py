"""Prints errors, the summary of a run and tables for a person. Data goes to stdout, everything else to stderr."""

import logging
import os
import shlex
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from promptmill.errors import PromptmillError, SetupError, TooManyFailures
from promptmill.printable import printable, printable_json
from promptmill.public_url import public_text, public_url
from promptmill.terminal import Terminal, wrap_words

_CHOSEN: list[int] = []  # the log's level, if somebody asked for one
_HANDLERS: list[logging.Handler] = []  # ours


def stderr() -> Terminal:
    """Where people read."""
    return Terminal(stderr=True, highlight=False)


def stdout() -> Terminal:
    """Where results go."""
    return Terminal(highlight=False)


def is_dialog() -> bool:
    """Whether a person is there to answer questions."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def prepare_prefect() -> None:
    """Keep Prefect's own lines out of a terminal, unless somebody asked for them; call before it is imported."""
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_CLI_PROMPT", "false")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    os.environ.setdefault("DO_NOT_TRACK", "1")  # then Prefect prints no notice about it
    show_log()


def choose_loudness(is_verbose: bool, is_quiet: bool) -> None:
    """Say more or less than usual from now on. Raises: SetupError if somebody asks for both."""
    if is_verbose and is_quiet:
        raise SetupError("--verbose and --quiet contradict each other. Give one of them.")
    _CHOSEN[:] = [logging.DEBUG if is_verbose else logging.ERROR]
    logging.getLogger("promptmill").setLevel(_CHOSEN[0])  # a run shows its progress accordingly


def is_usual() -> bool:
    """Whether nobody asked for more or less than usual."""
    return not _CHOSEN


def show_log() -> None:
    """Print our own log lines: INFO without a terminal, WARNING beside a progress display, or what somebody asked for.

    A second call changes nothing.
    """
    if not _HANDLERS:
        level = _CHOSEN[0] if _CHOSEN else logging.WARNING if sys.stderr.isatty() else logging.INFO
        _log_to_stderr(level)


def _log_to_stderr(level: int) -> None:
    handler = logging.StreamHandler()
    handler.setLevel(level)
    handler.setFormatter(_WrappedLines("%(asctime)s %(message)s", "%H:%M:%S"))
    ours = logging.getLogger("promptmill")
    ours.addHandler(handler)
    _HANDLERS.append(handler)
    ours.setLevel(_CHOSEN[0] if _CHOSEN else logging.INFO)
    ours.propagate = False  # else Prefect's console handler prints each line again


class _WrappedLines(logging.Formatter):
    """Log lines that a terminal wraps at words."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return wrap_words(Text(line), stderr().width).plain if sys.stderr.isatty() else line


def write(console: Console, text: Text) -> None:
    """Print a text for people: a terminal wraps it at words, in a pipe a line stays one line."""
    console.print(wrap_words(text, console.width) if console.is_terminal else text, soft_wrap=True)


def say(line: str) -> None:
    """A line for people."""
    write(stderr(), Text(public_text(line)))


def note(line: str) -> None:
    """A line about the current step, unless somebody asked for silence."""
    if _CHOSEN != [logging.ERROR]:
        say(line)


def show_finding(is_well: bool, name: str, detail: str) -> None:
    """One line of `promptmill doctor`."""
    mark = ("ok  ", "green") if is_well else ("FAIL", "bold red")
    write(stderr(), Text.assemble(mark, " ", (f"{name}:", "dim"), " ", public_text(detail)))


def show_batches(batches: Sequence[Mapping[str, Any]]) -> None:
    """A table of batches, a line each."""
    if not batches:
        return
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for name in ("batch", "state", "status", "requests", "completed", "failed", "note"):
        table.add_column(name, overflow="fold")
    for batch in batches:
        numbers = (f"{batch[name]:,}" for name in ("requests", "completed", "failed"))
        table.add_row(
            escape(printable(batch["id"] or batch["key"][:12])),
            escape(printable(batch["state"])),
            escape(printable(batch["status"])),
            *numbers,
            escape(printable(public_text(batch["note"]))),
        )
    stderr().print(table)


def show_error(error: PromptmillError, words: Sequence[str] = ()) -> None:
    """An error, as a sentence; `words` are those of the command."""
    title = "stopped" if error.exit_code != SetupError.exit_code else "error"
    text, command = going_on(error, words) if isinstance(error, TooManyFailures) else (str(error), None)
    write(stderr(), Text.assemble((f"{title}:", "bold red"), " ", text))
    if command is not None:
        stderr().print(Text(f"  {command}"), soft_wrap=True)  # in one piece, to be copied


def going_on(error: TooManyFailures, words: Sequence[str]) -> tuple[str, str | None]:
    """The error's text and the exact command that goes on; no command if the words aren't those of `promptmill run`."""
    if "run" not in words or not error.way_on:
        return str(error), None
    again = [error.option] if error.option and error.option not in words else []
    sentence = "What was answered is kept. Once the cause is gone, or with a higher max_failure_ratio, go on with:"
    return str(error).replace(error.way_on, sentence), public_text(shlex.join(["promptmill", *words, *again]))


def show_crash(error: BaseException) -> None:
    """An unexpected error, with its traceback."""
    text = "".join(traceback.format_exception(error)).rstrip("\n")
    stderr().print(public_text(text), markup=False, soft_wrap=True)


def show_manifest(values: Mapping[str, Any], output_url: str, as_json: bool) -> None:
    """The summary of a finished run."""
    from promptmill.output.manifest import manifest_from
    from promptmill.output.summary import figures

    console, manifest = stderr() if as_json else stdout(), manifest_from(values)
    if not manifest.requests_sent and manifest.reused == manifest.rows:
        console.print(f"Nothing to do: all {manifest.rows:,} rows are answered and the output is up to date.")
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", justify="right")
    grid.add_column(overflow="fold")
    grid.add_row("state", manifest.state)
    for figure in figures(manifest):
        grid.add_row(escape(figure.name), escape(figure.line))
    place = escape(printable(public_url(output_url)))
    grid.add_row("output", place)
    grid.add_row("report", f"{place.rstrip('/')}/_report.html")
    console.print(grid)
    if as_json:
        print_json(values)


def print_json(value: object) -> None:
    """One line of JSON on stdout."""
    sys.stdout.write(printable_json(orjson.dumps(value, default=str).decode()) + "\n")
    sys.stdout.flush()
