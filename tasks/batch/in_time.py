"""Answers a flow run with a deadline: by batches while there is time, and the rest online."""

import logging

from prefect.runtime import flow_run

from promptmill.batch import in_time
from promptmill.batch.in_time import InTime, Ways, answer_by_batches
from promptmill.runs.elsewhere import Elsewhere
from promptmill.runs.engine import Engine
from promptmill.runs.run import PendingRun
from tasks.batch.steps import wait_for_batches
from tasks.run.answering import answering_visibly
from tasks.run.chunks import answer_rows

log = logging.getLogger("promptmill")


async def answer_in_time(run: PendingRun) -> InTime | None:
    """Let batches answer a run with a deadline, until the rest has to go online; None if the run has no deadline.

    The deadline counts from the time for which the run is scheduled. Raises: RunStopped or a subclass.
    """
    if run.prepared.job.deadline is None:
        return None
    ways = Ways(_answer, wait_for_batches, log.info)
    return await answer_by_batches(run, ways, flow_run.get_scheduled_start_time())


async def _answer(part: PendingRun) -> Engine:
    async with answering_visibly(part) as engine:
        await answer_rows(engine)
    return engine


def done_by_others(found: InTime | None, shards: Elsewhere) -> Elsewhere:
    """The work of batches for a run with a deadline, or of shards for any other run."""
    return shards if found is None else found.elsewhere


async def end_in_time(found: InTime | None, run: PendingRun, engine: Engine) -> None:
    """Remove the files that only an unfinished run with a deadline needs; call it after publishing."""
    if found is not None:
        await in_time.end_in_time(found, run, engine)
