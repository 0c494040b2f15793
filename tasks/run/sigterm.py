"""A signal to a run: stop sending, let requests on their way finish, keep their answers, and only then end.

A worker ends its run by SIGTERM. A person ends `promptmill run` by Ctrl-C, by SIGTERM or by closing the terminal; a second
signal ends it at once. How the run ends is Prefect's to decide (tasks/run/ending.py); how our handler takes the place of
Prefect's: tasks/prefect_internals/sigterm_handler.py.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from promptmill.errors import Interrupted
from promptmill.runs.engine import Engine
from tasks.prefect_internals.sigterm_handler import Handler, handling_sigterm, is_started_by_worker

_HANGUP = signal.SIGHUP  # the terminal was closed
_SHOW_CURSOR = "\x1b[?25h"  # a progress display hides it
_ENDED = "The run ended at once. It keeps the answers that were stored; run the same command again to go on.\n"


class Terminated(Interrupted):
    """A worker, or the system that runs its machine, ended this process."""


@contextmanager
def stopping_gently(engine: Engine) -> Generator[None]:
    """While this lasts, a signal to end stops the run and leaves its event loop intact.

    In a thread other than the main one, as on a Dask cluster, Python handles no signals, and this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    if is_started_by_worker():
        with handling_sigterm(lambda *_: loop.call_soon_threadsafe(engine.stop.interrupt, Terminated())):
            yield
        return
    signals = 0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal signals
        del frame
        signals += 1
        if number == _HANGUP:
            _leave_terminal()
        if signals > 1:
            _end_now()
        _hush_prefect()
        loop.call_soon_threadsafe(engine.stop.interrupt, Interrupted())

    with _handling(signal.SIGINT, stop), _handling(_HANGUP, stop), handling_sigterm(stop):
        yield


@contextmanager
def _handling(number: signal.Signals, handler: Handler) -> Generator[None]:
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


def _hush_prefect() -> None:
    """Keep from the terminal that each task run of an interrupted run failed; the command says in a sentence why."""
    for handler in logging.getLogger().handlers:  # Prefect's; ours is our own logger's
        handler.setLevel(logging.CRITICAL)


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
