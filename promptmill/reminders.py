"""Lines that say again what is being done, where nothing is drawn in place: soon at first, then ever more seldom.

A thread of their own says them, since the step that they tell of may block for long.
"""

import contextvars
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager

_FIRST_PAUSES = (1.5,) * 20  # seconds: no silence of two seconds while a person watches the beginning
_PAUSE = 10.0  # seconds between all others: a log of hours stays readable


def pauses() -> Iterator[float]:
    """Seconds from each line to the next one, without end."""
    yield from _FIRST_PAUSES
    while True:
        yield _PAUSE


class Reminders:
    """Calls `say` again and again, after each of the `waits` (seconds), until it is ended."""

    def __init__(self, say: Callable[[], None], waits: Iterable[float] | None = None) -> None:
        self._say = say
        self._waits = pauses() if waits is None else waits
        self._is_over = threading.Event()
        context = contextvars.copy_context()  # by which Prefect knows whose log a line belongs to
        threading.Thread(target=context.run, args=[self._remind], name="reminders", daemon=True).start()

    def end(self) -> None:
        """Say nothing more."""
        self._is_over.set()

    def _remind(self) -> None:
        for pause in self._waits:
            if self._is_over.wait(pause):
                return
            self._say()


@contextmanager
def reminding(say: Callable[[], None], waits: Iterable[float] | None = None) -> Generator[None]:
    """While this lasts, `say` is called again and again."""
    reminders = Reminders(say, waits)
    try:
        yield
    finally:
        reminders.end()
