"""Sets up a run's engine under Prefect: shows progress, watches ownership, handles SIGTERM, leases a shared limit."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

from promptmill.runs.elsewhere import NOTHING_ELSEWHERE, Elsewhere
from promptmill.runs.engine import Engine
from promptmill.runs.run import PendingRun, answering
from promptmill.runs.showing import showing
from tasks.run.ownership import watch_ownership
from tasks.run.progress import watch_progress
from tasks.run.sigterm import stopping_gently
from tasks.server.credentials import load_credentials
from tasks.server.shared_limit import sharing


@asynccontextmanager
async def answering_visibly(run: PendingRun, elsewhere: Elsewhere = NOTHING_ELSEWHERE) -> AsyncGenerator[Engine]:
    """The engine of a run, with its progress shown until it ends. Raises: SetupError if a shared limit is missing."""
    job = run.prepared.job
    look_up = partial(
        load_credentials, job.provider
    )  # when the provider refuses the old key, the block may hold a new one
    async with sharing(job.limits) as lessor, answering(run, lessor, elsewhere, look_up) as engine:
        watchers = [
            asyncio.create_task(watch_progress(engine, _title(run))),
            asyncio.create_task(watch_ownership(engine)),
        ]
        try:
            async with showing(engine):
                with stopping_gently(engine.stop):
                    yield engine
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)  # a failed watcher doesn't end the run


def _title(run: PendingRun) -> str:
    """A run's name among artifacts; a shard has its own."""
    name = run.prepared.job.name
    return name if run.share is None else f"{name}-shard-{run.share.index}"
