"""A step of a run beside its requests, such as publishing: what it is and how far, while it lasts.

Large inputs take minutes to plan and to publish. In a terminal this is one line that leaves nothing behind; elsewhere it is a
line in the log if the step takes longer than two seconds, and then another one now and then.
"""

import logging
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, repeat

from promptmill.reminders import reminding
from promptmill.runs.showing import has_room
from promptmill.telling import Tell
from promptmill.terminal import Terminal

_CLOSE_SECONDS, _CLOSE_LINES = 1.0, 120  # where a person watches the end of a run
_LATER_SECONDS = 10.0
log = logging.getLogger("promptmill")


def close_waits() -> Iterator[float]:
    """Seconds between lines: one for two minutes, in which ten million rows are published, then ten."""
    return chain(repeat(_CLOSE_SECONDS, _CLOSE_LINES), repeat(_LATER_SECONDS))


@contextmanager
def showing_step(what: str, total: int | None = None, waits: Iterable[float] | None = None) -> Generator[Tell]:
    """Yields a function to tell of rows that are done, of `total` in all; it may be called from any thread.

    `waits` are the seconds between lines in the log, by default those of reminders.py.
    """
    if sys.stderr.isatty() and has_room():
        with _drawing(what, total) as tell:
            yield tell
        return
    done = 0

    def tell_log(rows: int) -> None:
        nonlocal done
        done = rows

    with reminding(lambda: log.info(describe_step(what, done, total)), waits):
        yield tell_log


def describe_step(what: str, rows: int, total: int | None = None) -> str:
    """A step in a line: "publishing · 1,000 of 2,000 rows"."""
    of_all = "" if total is None else f" of {total:,}"
    return f"{what} · {rows:,}{of_all} rows" if rows or total is not None else what


@contextmanager
def _drawing(what: str, total: int | None) -> Generator[Tell]:
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(24), TimeElapsedColumn())
    shown = Progress(*columns, console=Terminal(stderr=True), transient=True)
    line = shown.add_task(what, total=total)

    def tell(rows: int) -> None:
        shown.update(line, description=describe_step(what, rows, total), completed=rows)

    with shown:
        yield tell


def both(*tells: Tell) -> Tell:
    """Tells everybody; what one of them raises ends the work."""

    def tell(rows: int) -> None:
        for each in tells:
            each(rows)

    return tell
