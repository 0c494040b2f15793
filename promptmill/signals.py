"""Ctrl-C, SIGTERM and a closed terminal (SIGHUP): the first ends a command's run within seconds, a second the process."""

import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from promptmill.errors import Interrupted

Handler = Callable[[int, FrameType | None], Any]
HANGUP = signal.SIGHUP  # the terminal was closed
_SHOW_CURSOR = "\x1b[?25h"  # a progress display hides it
_ENDED = "The run ended at once. It keeps the answers that were stored; run the same command again to go on.\n"


class EndingSignals:
    """A handler for all of these signals: at the first it calls `end`, at the second it ends the process."""

    def __init__(self, end: Callable[[], object]) -> None:
        self._end = end
        self._signals = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        del frame
        self._signals += 1
        if number == HANGUP:
            _leave_terminal()
        if self._signals > 1:
            _end_now()
        self._end()


@contextmanager
def handling(number: signal.Signals, handler: Handler) -> Generator[None]:
    """While this lasts, `handler` handles a signal, unless the process was started to ignore it, as by nohup."""
    before = signal.getsignal(number)
    if before is signal.SIG_IGN:
        yield
        return
    signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def _leave_terminal() -> None:
    """Write nothing more to a terminal that is gone: each write would raise."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        if os.isatty(stream):
            os.dup2(nowhere, stream)
    os.close(nowhere)


def _end_now() -> None:
    if sys.stderr.isatty():
        os.write(2, f"{_SHOW_CURSOR}\n".encode())
    os.write(2, _ENDED.encode())
    os._exit(Interrupted.exit_code)
