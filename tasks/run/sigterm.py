"""SIGTERM to a run: stop sending, let what is on its way finish, keep it, and only then end as Prefect expects.

Prefect's own handler raises in the middle of whatever the event loop is doing; asyncio then cancels every task, and the
answers on their way, which are paid for, are lost (prefect 3.8.8, engine.py and asyncio.Runner.close).

A worker announces a cancellation to its run's process before it sends SIGTERM, and the process acknowledges it only
while the handler is the very one that `prefect.utilities.engine` names. Unacknowledged, a cancelled run would be
reported as Crashed and started again. So ours takes the place of theirs under their name too, and under their lock.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from prefect.utilities import engine as prefect_engine

from promptmill.errors import Interrupted
from promptmill.run.engine import Engine

Handler = Callable[[int, FrameType | None], Any]
NAME, LOCK = "_prefect_sigterm_handler", "_prefect_sigterm_bridge_lock"


class Terminated(Interrupted):
    """A worker, or whoever runs its machine, has ended this process."""


@contextmanager
def stopping_gently(engine: Engine) -> Generator[None]:
    """While this lasts, SIGTERM stops the run instead of tearing down its event loop."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        loop.call_soon_threadsafe(engine.stop.interrupt, Terminated() if is_supervised() else Interrupted())

    with _handling_sigterm(stop):
        yield


def is_supervised() -> bool:
    """Whether a worker started this process; a person who did waits for an exit code."""
    return "PREFECT__FLOW_RUN_ID" in os.environ


@contextmanager
def _handling_sigterm(handler: Handler) -> Generator[None]:
    """Have SIGTERM handled so, in Prefect's eyes too; a Prefect that names its handler otherwise keeps its own."""
    theirs, lock = getattr(prefect_engine, NAME, None), getattr(prefect_engine, LOCK, None)
    if lock is None or theirs is None or signal.getsignal(signal.SIGTERM) is not theirs:
        yield
        return
    with lock:
        signal.signal(signal.SIGTERM, handler)
        setattr(prefect_engine, NAME, handler)
    try:
        yield
    finally:
        with lock:
            signal.signal(signal.SIGTERM, theirs)
            setattr(prefect_engine, NAME, theirs)
