"""Replaces Prefect's handler of SIGTERM while a run sends requests. For prefect 3.8.8, `prefect.utilities.engine`.

Prefect's handler raises in the middle of the event loop's work. asyncio then cancels every task, and the paid answers on
their way are lost.

A worker announces a cancellation to its run's process before it sends SIGTERM. The process acknowledges this only while
the handler of SIGTERM is the very object that `prefect.utilities.engine` names, and it checks this under a lock. Without
the acknowledgement, the worker would report a cancelled run as Crashed, and the server would start it again. So we put
our handler under Prefect's name too, and do it under Prefect's lock.
"""

import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from prefect.context import FlowRunContext
from prefect.utilities import engine as prefect_engine

from tasks.prefect_internals.changes import warn_of_change

Handler = Callable[[int, FrameType | None], Any]
HANDLER_NAME, LOCK_NAME = "_prefect_sigterm_handler", "_prefect_sigterm_bridge_lock"
RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"  # in this environment variable a worker names the run for its process


@contextmanager
def handling_sigterm(handler: Handler) -> Generator[None]:
    """While this lasts, `handler` handles SIGTERM; main thread only.

    If Prefect's handler isn't installed where we expect it, Prefect's stays, and a warning says so.
    """
    theirs, lock = getattr(prefect_engine, HANDLER_NAME, None), getattr(prefect_engine, LOCK_NAME, None)
    if lock is None or theirs is None or signal.getsignal(signal.SIGTERM) is not theirs:
        warn_of_change(
            "its handler of SIGTERM isn't installed under the name and lock that we know",
            "If this run is cancelled or its worker stops, answers on their way are lost, though they are paid for.",
        )
        yield
        return
    _install(handler, lock)
    try:
        yield
    finally:
        _install(theirs, lock)


def _install(handler: Handler, lock: threading.RLock) -> None:
    with lock:
        signal.signal(signal.SIGTERM, handler)
        setattr(prefect_engine, HANDLER_NAME, handler)


def is_started_by_worker() -> bool:
    """Whether a worker started this process, and not a person who waits for an exit code."""
    is_named = RUN_VARIABLE in os.environ
    context = FlowRunContext.get()
    run = None if context is None else context.flow_run
    if not is_named and run is not None and run.deployment_id is not None:
        warn_of_change(
            f"a worker no longer names the run in {RUN_VARIABLE}",
            "If the worker stops this run, the run may end as Failed instead of Cancelled or Crashed.",
        )
    return is_named
