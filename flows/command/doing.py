"""What a command is doing just now: in a terminal one line that is rewritten in place, elsewhere a line for each step."""

import time
from collections.abc import Generator
from contextlib import contextmanager

from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from flows.command.console import is_usual, note, stderr, write

_LINE_SECONDS = 10.0  # between two lines about one step, where there is no terminal


class Doing:
    """Tells a person each step, and how far it is."""

    def __init__(self, shown: Progress | None) -> None:
        self._shown = shown
        self._line = None if shown is None else shown.add_task("", total=None)
        self._what = ""
        self._told_at = 0.0

    def step(self, what: str, total: int | None = None) -> None:
        """A new step has begun; `total` is what `rows` counts up to."""
        self._what, self._told_at = what, time.monotonic()
        if self._shown is None or self._line is None:
            note(what)
        else:
            self._shown.reset(self._line, description=escape(what), total=total, completed=0)

    def rows(self, rows: int) -> None:
        """So many rows of the step are done."""
        text = f"{self._what} · {rows:,} rows"
        if self._shown is not None and self._line is not None:
            self._shown.update(self._line, description=escape(text), completed=rows)
        elif time.monotonic() - self._told_at >= _LINE_SECONDS:
            self._told_at = time.monotonic()
            note(text)

    def line(self, text: str) -> None:
        """Tell something that stays in the terminal."""
        if self._shown is None:
            note(text)
        else:
            write(self._shown.console, Text(text))

    def close(self) -> None:
        """Give the terminal to what comes next."""
        if self._shown is not None:
            self._shown.stop()


@contextmanager
def doing(what: str) -> Generator[Doing]:
    """While this lasts, a person sees what the command does; nothing of it stays in a terminal."""
    console = stderr()
    if not console.is_terminal or not is_usual():
        told = Doing(None)
        told.step(what)
        yield told
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(24), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as shown:
        told = Doing(shown)
        told.step(what)
        yield told
