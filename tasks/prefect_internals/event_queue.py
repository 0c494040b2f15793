"""Waits until a process has sent its queued events. For prefect 3.8.8, `prefect.events.worker`.

Prefect sends events and heartbeats from a separate thread, and offers no documented way to wait for them.
"""

import asyncio
from contextlib import suppress
from threading import Thread

from prefect.events import worker

from tasks.prefect_internals.changes import warn_of_change


async def send_queued_events(seconds: float) -> None:
    """Return when this process has sent all its events to the server, or after `seconds`."""
    try:
        wait_until_empty = worker.EventsWorker.instance().wait_until_empty
    except (AttributeError, TypeError):
        warn_of_change(
            "`EventsWorker.instance().wait_until_empty` is gone",
            "The server may take a run that waits for an approval for dead, and mark it Crashed.",
        )
        return
    loop, is_empty = asyncio.get_running_loop(), asyncio.Event()

    def wait() -> None:
        wait_until_empty()
        with suppress(RuntimeError):  # the loop has closed meanwhile
            loop.call_soon_threadsafe(is_empty.set)

    Thread(target=wait, daemon=True).start()  # asyncio.to_thread would keep the process until the server is back
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await is_empty.wait()
