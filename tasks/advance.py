"""One unit of work for each registered job; a job that fails keeps no other from its turn."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from promptmill.batch_registry import Entry, registered
from promptmill.errors import PromptmillError, SetupError
from tasks.run_logs import quiet_expected_errors

Act = Callable[[str, Entry], Awaitable[dict[str, Any]]]
log = logging.getLogger("promptmill")


async def each_job(act: Act, job_name: str | None) -> list[dict[str, Any]]:
    """What came of each job. Raises: the first job's error, after all had their turn; SetupError for an unknown name."""
    quiet_expected_errors()
    entries = await asyncio.to_thread(registered, job_name)
    if not entries and job_name is not None:
        raise SetupError(
            f"no job {job_name!r} has batches in flight; jobs are written down by batch-inference "
            "(PROMPTMILL_STATE_URL). Check the name, or leave it out for all jobs."
        )
    found: list[dict[str, Any]] = []
    failed: list[Exception] = []
    for entry in entries:
        try:
            found.append(await act(entry.job.name, entry))
        except Exception as error:
            log.error("%s: %s", entry.job.name, error, exc_info=not isinstance(error, PromptmillError))
            failed.append(error)
    if failed:
        raise failed[0]
    return found
