"""A planned run carried out with nothing around it: no turn over the output, no display, no second try.

For tests and measurements; a user's run without a Prefect server is in promptmill/standalone.
"""

import pyarrow as pa

from promptmill.limits.leased_bucket import Lessor
from promptmill.planning.plan import Chunk
from promptmill.runs.chunk import complete_chunk
from promptmill.runs.chunk_loop import drive_chunks
from promptmill.runs.engine import Engine
from promptmill.runs.run import FinishedRun, PendingRun, answering, publish_run
from promptmill.storage import Storage


async def _reuse(engine: Engine, chunk: Chunk, answers: pa.Table) -> None:
    """Without Prefect nobody keeps a record of what was reused."""


async def run_plainly(run: PendingRun, target: Storage | None = None, lessor: Lessor | None = None) -> FinishedRun:
    """Answer every row and publish the answers. Raises: RunStopped or a subclass; SetupError."""
    async with answering(run, lessor) as engine:
        await drive_chunks(engine, _reuse, complete_chunk)
    return await publish_run(run, engine, target)
