"""Keeps a run alive when nobody reads its console log any more. For prefect 3.8.8, `PrefectConsoleHandler`, and rich 15.

A worker reads the log of its runs through a pipe. If somebody kills the worker, the next log line of a run fails, and rich
raises SystemExit. That ended the run in the middle of its work, and lost the paid answers on their way. With this file a
run outlives its worker: it goes on, and its later log lines are only in Prefect's own log.
"""

import logging
from collections.abc import Generator
from functools import partial

from prefect.logging.handlers import PrefectConsoleHandler

from promptmill.unread_output import send_to_nowhere
from tasks.prefect_internals.changes import warn_of_change

_ON_BROKEN_PIPE = "on_broken_pipe"  # what rich's Console calls


def outlive_log_reader() -> None:
    """Let this process go on, without its log on the console, if whatever reads that log ends."""
    for handler in _console_handlers():
        console = getattr(handler, "console", None)
        if console is None or not hasattr(console, _ON_BROKEN_PIPE):
            warn_of_change(
                "its log on the console isn't written by the console of rich that we know",
                "If this run's worker is killed, answers on their way may be lost, though they are paid for.",
            )
            return
        setattr(console, _ON_BROKEN_PIPE, partial(send_to_nowhere, handler.stream))


def _console_handlers() -> Generator[PrefectConsoleHandler]:
    """Prefect's console handlers, of all loggers that there are."""
    loggers = [logging.getLogger(), *logging.root.manager.loggerDict.values()]
    for logger in loggers:
        if isinstance(logger, logging.Logger):
            yield from (handler for handler in logger.handlers if isinstance(handler, PrefectConsoleHandler))
