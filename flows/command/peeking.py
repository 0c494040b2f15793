"""The command that shows the answers so far while a run is under way."""

from collections import deque
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from rich.table import Table
from rich.text import Text

from flows.command import console
from flows.command.arguments import load
from flows.command.places import is_job_file
from flows.command.sample_table import about, answer_columns, cell
from promptmill.cell_values import rows_of
from promptmill.errors import SetupError
from promptmill.number_words import count, percent
from promptmill.planning.prepared_job import Prepared
from promptmill.runs.partial import answered_pieces
from promptmill.so_far import SoFar, so_far


@dataclass(slots=True)
class _Seen:
    """The counts of a look through the answers."""

    rows: int = 0  # rows of the input
    answered: int = 0
    failed: int = 0


def peek_at(place: str, overrides: list[str] | None, rows: int, *, is_last: bool, as_json: bool) -> None:
    """Show how many rows are answered, and some of them. Raises: OutputError, JobError, DatasetError, StorageFailed."""
    job = load(place, overrides) if is_job_file(place) else None
    if job is None and overrides:
        raise SetupError(
            "--set changes a job file, and an output's URL is given. Name the job file, or leave --set out."
        )
    found = so_far(place, job)
    if found.prepared is None:
        console.say(
            f"The output at {found.url} is complete: promptmill.read, `promptmill export`, or any Parquet reader."
        )
        if as_json:
            console.print_json({"state": "completed"})
        return
    seen, shown = _look(found.prepared, rows, is_last=is_last)
    out = console.stderr() if as_json else console.stdout()
    if shown:
        out.print(_table(found.prepared, shown))
    console.write(out, Text(_line(found, seen, len(shown), is_last=is_last)))
    if as_json:
        values = {"rows": seen.rows, "succeeded": seen.answered, "failed": seen.failed}
        console.print_json({"state": _state(found), **values, "shown": shown})


def _look(prepared: Prepared, most: int, *, is_last: bool) -> tuple[_Seen, list[dict[str, Any]]]:
    """The counts over all rows, and the first or the last rows that succeeded."""
    seen, held, rows = _Seen(), deque[pa.Table](), 0
    for piece in answered_pieces(prepared):
        seen.rows += piece.rows
        seen.failed += piece.failed
        seen.answered += piece.answered.num_rows
        if piece.answered.num_rows and (is_last or rows < most):
            held.append(piece.answered.slice(max(0, piece.answered.num_rows - most) if is_last else 0, most))
            rows += held[-1].num_rows
        while is_last and held and rows - held[0].num_rows >= most:
            rows -= held.popleft().num_rows
    found = [row for table in held for row in rows_of(table)]
    return seen, found[-most:] if is_last else found[:most]


def _table(prepared: Prepared, shown: list[dict[str, Any]]) -> Table:
    named = answer_columns(prepared)
    table = Table(show_lines=True)
    for name in ("row", "input", *named):
        table.add_column(Text(name), overflow="fold")
    for row in shown:
        table.add_row(*about(prepared, row), *(cell(row[name]) for name in named))
    return table


def _line(found: SoFar, seen: _Seen, shown: int, *, is_last: bool) -> str:
    which = f"above: the {'last' if is_last else 'first'} {count(shown)}" if shown else "none to show"
    done = seen.answered + seen.failed
    state = _state(found)
    return (
        f"{count(seen.answered)} of {count(seen.rows)} rows answered, {count(seen.failed)} failed "
        f"({percent(done / max(1, seen.rows))}); {which}. {state[0].upper()}{state[1:]}."
    )


def _state(found: SoFar) -> str:
    """Whether the run goes on, by its own record."""
    if found.run is None or not found.is_under_way:
        return "no run is under way"
    pause = "" if found.pause is None else f", {found.pause}"
    return f"{found.run.what} is under way, since {found.run.started_at:%H:%M:%S} UTC{pause}"
