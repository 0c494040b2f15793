"""SIGTERM to a run: stop sending, let requests on their way finish, keep their answers, and only then end.

How the run ends is Prefect's to decide (tasks/run/ending.py); how our handler takes the place of Prefect's:
tasks/prefect_internals/sigterm_handler.py.
"""

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from promptmill.errors import Interrupted
from promptmill.runs.engine import Engine
from tasks.prefect_internals.sigterm_handler import handling_sigterm, is_started_by_worker


class Terminated(Interrupted):
    """A worker, or the system that runs its machine, ended this process."""


@contextmanager
def stopping_gently(engine: Engine) -> Generator[None]:
    """While this lasts, SIGTERM stops the run and leaves its event loop intact.

    In a thread other than the main one, as on a Dask cluster, Python handles no signals, and this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    reason = Terminated() if is_started_by_worker() else Interrupted()

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        loop.call_soon_threadsafe(engine.stop.interrupt, reason)

    with handling_sigterm(stop):
        yield
