"""What the command says to a person: errors, the summary of a run, tables. Data goes to stdout, all else to stderr."""

import logging
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from rich.markup import escape
from rich.table import Table

from promptmill.errors import PromptmillError, SetupError
from promptmill.printable import printable, printable_json
from promptmill.public_url import public_text, public_url
from promptmill.runs.display import format_seconds
from promptmill.terminal import Terminal


def stderr() -> Terminal:
    """Where people read."""
    return Terminal(stderr=True, highlight=False)


def stdout() -> Terminal:
    """Where results go."""
    return Terminal(highlight=False)


def prepare_prefect() -> None:
    """Keep Prefect's own lines out of a terminal, unless somebody asked for them; call before it is imported."""
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_CLI_PROMPT", "false")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    os.environ.setdefault("DO_NOT_TRACK", "1")  # then Prefect prints no notice about it
    log_to_stderr(logging.WARNING if sys.stderr.isatty() else logging.INFO)


def log_to_stderr(level: int) -> None:
    """Print our own log lines from a level on: INFO without a terminal, WARNING beside a progress display."""
    handler = logging.StreamHandler()
    handler.setLevel(level)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    ours = logging.getLogger("promptmill")
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    ours.propagate = False  # else Prefect's console handler prints each line again


def say(line: str) -> None:
    """A line for people."""
    stderr().print(public_text(line), markup=False, soft_wrap=True)


def show_finding(is_well: bool, name: str, detail: str) -> None:
    """One line of `promptmill doctor`."""
    mark = "[green]ok  [/]" if is_well else "[bold red]FAIL[/]"
    stderr().print(f"{mark} [dim]{escape(name)}:[/] ", end="")
    stderr().print(public_text(detail), markup=False, soft_wrap=True)


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


def show_error(error: PromptmillError) -> None:
    """An error, as a sentence."""
    title = "stopped" if error.exit_code != SetupError.exit_code else "error"
    stderr().print(f"[bold red]{title}:[/] ", end="")
    stderr().print(str(error), markup=False, soft_wrap=True)


def show_crash(error: BaseException) -> None:
    """An error that nobody foresaw, with its traceback."""
    text = "".join(traceback.format_exception(error)).rstrip("\n")
    stderr().print(public_text(text), markup=False, soft_wrap=True)


def show_manifest(manifest: Mapping[str, Any], output_url: str, as_json: bool) -> None:
    """The summary of a finished run."""
    console = stderr() if as_json else stdout()
    if not manifest["requests_sent"] and manifest["reused"] == manifest["rows"]:
        console.print(f"Nothing to do: all {manifest['rows']:,} rows are answered and the output is up to date.")
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", justify="right")
    grid.add_column()
    for name, value in _summary(manifest):
        grid.add_row(name, escape(value))
    place = escape(printable(public_url(output_url)))
    grid.add_row("output", place)
    grid.add_row("report", f"{place.rstrip('/')}/_report.html")
    console.print(grid)
    if as_json:
        print_json(manifest)


def print_json(value: object) -> None:
    """One line of JSON on stdout."""
    sys.stdout.write(printable_json(orjson.dumps(value, default=str).decode()) + "\n")
    sys.stdout.flush()


def _summary(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in manifest["failures_by_kind"].items())
    failed = f"{manifest['failed']:,}" + (f" ({kinds})" if kinds else "")
    rows = [
        ("state", str(manifest["state"])),
        ("rows", f"{manifest['rows']:,}: {manifest['succeeded']:,} succeeded, {failed} failed"),
        ("sent", f"{manifest['requests_sent']:,} requests, {manifest['attempts']:,} attempts"),
        ("reused", f"{manifest['reused']:,} rows of earlier runs"),
        ("tokens", f"{manifest['input_tokens']:,} in, {manifest['output_tokens']:,} out"),
        ("cost", f"${manifest['cost_usd']} (estimated ${manifest['estimated_cost_usd']})"),
        ("time", format_seconds(manifest["seconds"])),
    ]
    if manifest.get("accuracy"):
        shares = ", ".join(f"{name} {100 * value:.1f} %" for name, value in accuracy_shares(manifest["accuracy"]))
        rows.append(("accuracy", shares))
    return rows


def accuracy_shares(accuracy: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Column → share of the compared rows that agree."""
    return [(name, agreement["accuracy"]) for name, agreement in accuracy.items() if agreement["compared"]]
