"""Handles a signal to a run: stops sending, lets requests on their way finish, keeps their answers, and only then ends.

A worker ends its run by SIGTERM. A person ends `promptmill run` by Ctrl-C, by SIGTERM or by closing the terminal; a second
signal ends it at once. How the run ends is Prefect's to decide (tasks/run/ending.py); how our handler takes the place of
Prefect's: tasks/prefect_internals/sigterm_handler.py.
"""

import asyncio
import logging
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager

from promptmill.errors import Interrupted
from promptmill.signals import HANGUP, EndingSignals, handling
from promptmill.stop import Stop
from tasks.prefect_internals.sigterm_handler import handling_sigterm, is_started_by_worker


class Terminated(Interrupted):
    """A worker, or the system that runs its machine, ended this process."""


@contextmanager
def stopping_gently(ending: Stop) -> Generator[None]:
    """While this lasts, a signal to end stops the run and leaves its event loop intact.

    In a thread other than the main one, as on a Dask cluster, Python handles no signals, and this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    if is_started_by_worker():
        with handling_sigterm(lambda *_: loop.call_soon_threadsafe(ending.interrupt, Terminated())):
            yield
        return

    def stop() -> None:
        _hush_prefect()
        loop.call_soon_threadsafe(ending.interrupt, Interrupted())

    handler = EndingSignals(stop)
    with handling(signal.SIGINT, handler), handling(HANGUP, handler), handling_sigterm(handler):
        yield


def _hush_prefect() -> None:
    """Keep from the terminal that each task run of an interrupted run failed; the command says in a sentence why."""
    for handler in logging.getLogger().handlers:  # Prefect's; ours is our own logger's
        handler.setLevel(logging.CRITICAL)
