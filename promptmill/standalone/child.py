"""The program of a child process, which answers its part of a run: it reads standard input and reports on standard output.

It ends gently if the run asks it to, or if the run's process is gone. It has its own session, so that Ctrl-C in a terminal
reaches only the run, which then asks its children.
"""

import asyncio
import io
import logging
import os
import sys
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import NoReturn

from promptmill.allowed_urls import close_to_unlisted
from promptmill.checkpoints.output_turn import Asking, Turn, releasing
from promptmill.checkpoints.shard_lease import ShardLease
from promptmill.checkpoints.store import Store
from promptmill.errors import PromptmillError, RunStopped
from promptmill.memory import collect_seldom, spare_memory, spare_pandas
from promptmill.output.manifest import Manifest
from promptmill.processes import end_process
from promptmill.runs.engine import Engine
from promptmill.runs.run import end_share
from promptmill.runs.run_state import PendingRun
from promptmill.sharding.folder import ShardFolder
from promptmill.sharding.plan import Outcome
from promptmill.sharding.split import open_share
from promptmill.standalone.answering import Alone, answer_rows_alone, answering_alone
from promptmill.standalone.hearing import Told
from promptmill.standalone.interruption import Interruption
from promptmill.standalone.messages import REPORT, WORK, Counts, Line, Report, Work, outcome_line
from promptmill.storage import Storage

_REPORT_SECONDS = 0.5


class _Reports(logging.Handler):
    """Writes messages to the run, until the run's process is gone. Safe to use from many threads."""

    def __init__(self, pipe: io.BufferedWriter) -> None:
        super().__init__()
        self._pipe, self._writing = pipe, threading.Lock()

    def write(self, line: bytes) -> None:
        """Write one line."""
        with self._writing, suppress(OSError):
            self._pipe.write(line + b"\n")
            self._pipe.flush()

    def emit(self, record: logging.LogRecord) -> None:
        """Have the run log a line."""
        self.write(REPORT.dump_json(Report(line=Line(record.levelno, record.getMessage()))))

    @asynccontextmanager
    async def showing(self, engine: Engine) -> AsyncGenerator[None]:
        """Report the engine's progress while this lasts, and once more at the end."""
        watcher = asyncio.create_task(self._watch(engine))
        try:
            yield
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
            self._count(engine)

    async def _watch(self, engine: Engine) -> None:
        while True:
            self._count(engine)
            await asyncio.sleep(_REPORT_SECONDS)

    def _count(self, engine: Engine) -> None:
        self.write(REPORT.dump_json(Report(counts=_counts_of(engine))))


def _counts_of(engine: Engine) -> Counts:
    """The progress of an engine."""
    now, client = engine.progress.snapshot(), engine.client
    return Counts(
        done=now.done,
        failed=now.failed,
        reused=now.reused,
        rows_per_second=now.rows_per_second,
        tokens_per_minute=now.tokens_per_minute,
        spent_usd=now.spent_usd,
        in_flight=engine.places.on_wire,
        waiting=client.counters.pausing + client.limiter.waiting,
        limited_by=engine.limit_watch.now,
    )


def main() -> NoReturn:
    """The whole program of a child: read the work from standard input and do it."""
    spare_memory()
    collect_seldom()
    spare_pandas()
    reports = _Reports(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)  # any other output goes to standard error
    work = WORK.validate_json(sys.stdin.buffer.readline())
    if work.is_closed:
        close_to_unlisted()
    log = logging.getLogger("promptmill")
    log.setLevel(work.log_level)
    log.addHandler(reports)
    interruption = Interruption()
    told = Told(interruption)
    threading.Thread(target=told.listen, name="run", daemon=True).start()
    outcome = asyncio.run(_carry(work, told, reports))
    reports.write(outcome_line(outcome))
    end_process(0)


async def _carry(work: Work, told: Told, reports: _Reports) -> Outcome:
    """Do the work; returns how it ended, if this process can tell."""
    try:
        return Outcome(await told.interruption.allowing(_answer(work, told, reports)), None)
    except PromptmillError as error:
        reached = error.manifest if isinstance(error, RunStopped) else None
        return Outcome(reached if isinstance(reached, Manifest) else None, error)


async def _answer(work: Work, told: Told, reports: _Reports) -> Manifest:
    """Answer the rows of this process; returns their manifest. Raises: PromptmillError."""
    folder = ShardFolder(Store(Storage(work.checkpoints, "checkpoints")), work.name)
    run = await asyncio.to_thread(open_share, folder, work.plan, work.part, work.credentials, ())
    lease = ShardLease(folder.storage, Asking(work.what).holder(), claim_token=work.claim)
    how = Alone(Asking(work.what), told.interruption, reports.showing)
    if work.may_ask_for_key:
        how = replace(
            how, look_up=partial(told.look_up, lambda: reports.write(REPORT.dump_json(Report(wants_key=True))))
        )
    async with releasing(Turn(await asyncio.to_thread(lease.begin), has_waited=False)):
        held: PendingRun = replace(run, lease=lease, steered=work.steered)
        async with answering_alone(held, how) as engine:
            with told.serving(engine, work.plan.job.limits.max_concurrency):
                await answer_rows_alone(engine)
    return end_share(held, engine).manifest


if __name__ == "__main__":
    main()
