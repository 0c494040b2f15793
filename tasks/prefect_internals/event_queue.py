"""The queue in which a process keeps its events until they are sent. For prefect 3.8.8, `prefect.events.worker`.

Prefect sends events, heartbeats too, from a thread of their own, and offers no documented way to wait for them.
"""

import asyncio
from contextlib import suppress
from threading import Thread

from prefect.events import worker

from tasks.prefect_internals.changes import warn_of_change


async def send_queued_events(seconds: float) -> None:
    """Return once the server has been sent all events of this process, or after so many seconds."""
    try:
        wait_until_empty = worker.EventsWorker.instance().wait_until_empty
    except (AttributeError, TypeError):
        warn_of_change(
            "`EventsWorker.instance().wait_until_empty` is gone",
            "A run that waits for an approval may be taken for dead and be marked Crashed.",
        )
        return
    loop, is_empty = asyncio.get_running_loop(), asyncio.Event()

    def wait() -> None:
        wait_until_empty()
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(is_empty.set)

    Thread(target=wait, daemon=True).start()  # asyncio.to_thread would keep the process until the server is back
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await is_empty.wait()
