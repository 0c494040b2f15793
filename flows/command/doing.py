"""Shows what a command is doing: in a terminal one line that changes in place, elsewhere lines for each step."""

from collections.abc import Generator
from contextlib import contextmanager

from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from flows.command.console import is_usual, note, stderr, write
from promptmill.reminders import Reminders


class Doing:
    """Tells a person each step, and how far it is."""

    def __init__(self, shown: Progress | None) -> None:
        self._shown = shown
        self._line = None if shown is None else shown.add_task("", total=None)
        self._what, self._rows = "", 0
        self._reminders: Reminders | None = None

    def step(self, what: str, total: int | None = None) -> None:
        """A new step has begun; `total` is what `rows` counts up to."""
        self._what, self._rows = what, 0
        if self._shown is None or self._line is None:
            note(what)
            self._remind()
        else:
            self._shown.reset(self._line, description=escape(what), total=total, completed=0)

    def rows(self, rows: int) -> None:
        """Note that this many rows of the step are done."""
        self._rows = rows
        if self._shown is not None and self._line is not None:
            self._shown.update(self._line, description=escape(self._text()), completed=rows)

    def _text(self) -> str:
        return f"{self._what} · {self._rows:,} rows" if self._rows else self._what

    def _remind(self) -> None:
        self._end_reminders()
        self._reminders = Reminders(lambda: note(self._text()))

    def _end_reminders(self) -> None:
        if self._reminders is not None:
            self._reminders.end()

    def line(self, text: str) -> None:
        """Print a line that stays in the terminal."""
        if self._shown is None:
            note(text)
        else:
            write(self._shown.console, Text(text))

    def close(self) -> None:
        """Free the terminal for the next output."""
        self._end_reminders()
        if self._shown is not None:
            self._shown.stop()


@contextmanager
def doing(what: str) -> Generator[Doing]:
    """While this lasts, a person sees what the command does; a terminal shows nothing of it afterwards."""
    console = stderr()
    if not console.is_terminal or not is_usual():
        told = Doing(None)
        told.step(what)
        try:
            yield told
        finally:
            told.close()
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(24), TimeElapsedColumn())
    shown = Progress(*columns, console=console, transient=True)
    told = Doing(shown)
    told.step(what)  # before the first frame is drawn
    with shown:
        yield told
