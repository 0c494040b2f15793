"""SIGTERM to a run that somebody started by hand: stop sending, let what is on its way finish, keep it."""

import asyncio
import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from promptmill.engine import Engine
from promptmill.errors import Interrupted


@contextmanager
def stopping_gently(engine: Engine) -> Generator[None]:
    """While this lasts, SIGTERM stops the run instead of tearing down its event loop.

    Under a worker Prefect's own handler stays: it tells the worker that the cancellation was heard (prefect 3.8.8), and
    the event loop then cancels every task, so that there answers on their way are lost.
    """
    if "PREFECT__FLOW_RUN_ID" in os.environ or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()

    def stop(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(engine.stop.because, Interrupted())

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
