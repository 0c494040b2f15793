"""A run that several processes of this machine answer side by side: one parent, and a child for each part of the rows.

The parent plans, holds the output, splits budget and limits, shows how far all are, and publishes. Each child sends for its
part: it keeps to its share of the limits and of the money, shows on the storage that it lives, and hears orders, as a shard
on another machine does (docs/decisions/0012, 0018). What a shard is told by objects, a child is told by a pipe; so the
parent knows at once when one dies, and another takes its rows.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import anyio

from promptmill.allowed_urls import is_closed_process
from promptmill.checkpoints.shard_lease import forget_dead
from promptmill.errors import PromptmillError, RunStopped, StorageFailed
from promptmill.output.manifest import Manifest
from promptmill.processes import this_machine
from promptmill.runs.elsewhere import NOTHING_ELSEWHERE, Elsewhere
from promptmill.runs.engine import LookUpCredentials
from promptmill.runs.run import PendingRun, facts_of_work, tell_how_far
from promptmill.sharding.folder import ShardFolder
from promptmill.sharding.plan import Outcome, ShardDied, ShardPlan, sum_progress, sum_shards, verdict
from promptmill.sharding.split import split_run
from promptmill.sharding.steering import while_steered
from promptmill.standalone.children import Child
from promptmill.standalone.cores import choose_processes, usable_cores
from promptmill.standalone.crew_line import describe_crew
from promptmill.standalone.messages import Counts, Work
from promptmill.steering.orders import NOT_STEERED, Steering

_SHOW_SECONDS = 0.5
_END_SECONDS = 30.0  # for children to keep what arrives, before they are killed
Show = Callable[[str, float], Awaitable[None]]  # a line, per cent
Showing = Callable[[], AbstractAsyncContextManager[Show]]
Guarding = Callable[[Coroutine[Any, Any, None]], Awaitable[None]]
log = logging.getLogger("promptmill")


async def answer_side_by_side(
    run: PendingRun, showing: Showing, guarding: Guarding, what: str, look_up: LookUpCredentials | None = None
) -> Elsewhere:
    """What children did of a run: they answer its rows where its job asks for several processes, and nobody else's.

    `look_up` finds the credentials again when the provider refuses the key, where the environment doesn't have it.
    `guarding` carries out work that may be cancelled, and raises why. The children end before anything is raised.

    Raises: RunStopped or a subclass, with the run's manifest.
    """
    plan = await asyncio.to_thread(_split, run)
    if plan is None:
        return NOTHING_ELSEWHERE
    crew = _Crew(run, plan, what, look_up)
    log.info("%d processes of about %d chunks each", len(plan.bounds), -(-len(plan.chunks) // len(plan.bounds)))
    try:
        async with showing() as show, crew.at_work() as work:
            await guarding(while_steered(run, crew, crew.folder, plan, crew.until_all_ended(work, show)))
    except RunStopped as error:
        crew.tell_how_far(error)
        raise
    return crew.work


def _split(run: PendingRun) -> ShardPlan | None:
    """The parts of a run; None where one process answers it. Blocks. Raises: StorageFailed."""
    job = run.prepared.job
    if job.processes == 1 or job.limits.shared is not None or run.lease is None:
        return None
    listing, estimate = run.prepared.store.listing(), run.preflight.estimate
    left = sum(
        chunk.rows for chunk in run.preflight.plan.chunks if run.retry_failed or not listing.is_finished(chunk.key)
    )
    a_second = estimate.rows / (60 * estimate.minutes) if estimate.minutes else None
    concurrency = None if job.limits.max_concurrency == "auto" else job.limits.max_concurrency
    count = choose_processes(job.processes, usable_cores(), left, a_second, concurrency)
    return None if count == 1 else split_run(run, count)


@dataclass(slots=True)
class _Part:
    """What the parent knows of one part of the rows."""

    counts: Counts = field(default_factory=Counts)
    child: Child | None = None  # that is at it now
    is_done: bool = False
    heard: dict[int, Manifest] = field(default_factory=dict[int, Manifest])  # attempt → how far it came


class _Crew:
    """The children of a run, from the first to the end of the last."""

    def __init__(self, run: PendingRun, plan: ShardPlan, what: str, look_up: LookUpCredentials | None) -> None:
        self.folder = ShardFolder(run.prepared.store, f"processes-{secrets.token_hex(4)}")
        self.steering: Steering = NOT_STEERED  # what people told the run since it began
        self._run, self._plan, self._what, self._look_up = run, plan, what, look_up
        self._parts = [_Part() for _ in plan.bounds]
        self._is_ending = False

    @property
    def done(self) -> list[int]:
        """The parts that are done."""
        return [number for number, part in enumerate(self._parts) if part.is_done]

    @property
    def work(self) -> Elsewhere:
        """What the children did, by those that told how far they came."""
        sums = sum_shards([manifest for part in self._parts for _, manifest in sorted(part.heard.items())])
        return Elsewhere(
            requests=sums.requests_sent,
            attempts=sums.attempts,
            retries=sums.retries,
            limited_by=sums.limited_by,
            answered=sums.answered,
            again=self._plan.again,
        )

    @asynccontextmanager
    async def at_work(self) -> AsyncGenerator[list["asyncio.Task[None]"]]:
        """One task a part, each until its rows are answered; none and no child is left after the block."""
        tasks = [asyncio.create_task(self._carry(number)) for number in range(len(self._parts))]
        try:
            yield tasks
        finally:
            with anyio.CancelScope(shield=True):
                await self._end(tasks)

    async def until_all_ended(self, tasks: list["asyncio.Task[None]"], show: Show) -> None:
        """Show how far the children are until all have ended. Raises: what ends one of them and so the run."""
        running = set(tasks)
        while running:
            ended, running = await asyncio.wait(running, timeout=_SHOW_SECONDS, return_when=asyncio.FIRST_EXCEPTION)
            for task in ended:
                task.result()
            rows = sum(chunk.rows for chunk in self._plan.chunks)
            counts = [part.counts for part in self._parts]
            line = describe_crew(counts, self._at_work, rows, self._plan.job.budget_usd, self.steering.pause)
            await show(line, 100 * sum(one.done for one in counts) / max(1, rows))

    def tell_how_far(self, error: RunStopped) -> None:
        """Give the error that ends the run the manifest of how far its children came."""
        latest = [part.heard[max(part.heard)] for part in self._parts if part.heard]
        progress = sum_progress(latest, self._run.preflight.plan.rows)
        facts = facts_of_work(self._run, self.work, sum(manifest.reused for manifest in latest))
        tell_how_far(error, self._run, replace(facts, steering=self.steering), progress)

    @property
    def _at_work(self) -> int:
        return sum(part.child is not None for part in self._parts)

    async def _carry(self, number: int) -> None:
        """Have the rows of a part answered, by another child where one dies. Raises: RunStopped or a subclass."""
        part, label, attempt = self._parts[number], self._plan.label(number), 0
        while not (part.is_done or self._is_ending):
            attempt += 1
            part.child = child = await self._start(number)
            if self.done:
                await self._share_limits()
            outcome = await child.until_end(partial(setattr, part, "counts"))
            part.child = None
            if outcome is not None and outcome.manifest is not None:
                part.heard[attempt] = outcome.manifest
            if outcome is None:
                await self._bury(child)
            self._judge(part, outcome, attempt, label, child)
            await self._share_limits()

    async def _start(self, number: int) -> Child:
        """A child for a part. Raises: RunStopped when the machine has no room for another process."""
        try:
            return await Child.start(self._work(number), self._look_up)
        except OSError as error:
            raise RunStopped(
                f"the process for rows {self._plan.label(number)} can't be started ({error}). Free memory or processes of this "
                "machine, or set fewer processes; then run the job again: what was answered is kept."
            ) from error

    async def _share_limits(self) -> None:
        """Let those that are left have what those had that send no more."""
        left = [part for part in self._parts if not part.is_done]
        for child in [part.child for part in left if part.child is not None]:
            await child.take_part(1 / len(left))

    def _judge(self, part: _Part, outcome: Outcome | None, attempt: int, label: str, child: Child) -> None:
        """What to do now that a child has ended. Raises: what ends the whole run."""
        if self._is_ending:
            return
        ended = "completed" if outcome is not None and outcome.error is None else "crashed"
        judged = verdict(ended, outcome, attempt, label)
        if judged == "done":
            part.is_done = True
        elif isinstance(judged, ShardDied):
            raise ShardDied(
                f"the process for rows {label} died {attempt} times ({child.describe_death()}). If it was killed for want of "
                "memory, set fewer processes; run the job again: what was answered is kept."
            )
        elif isinstance(judged, PromptmillError):
            raise judged
        else:
            log.warning(
                "process %d for rows %s died (%s); another one goes on with its rows",
                child.pid,
                label,
                child.describe_death(),
            )

    async def _bury(self, child: Child) -> None:
        """Remove the sign of life of a child that is gone: an order waits until each living child has heard it."""
        with suppress(StorageFailed):
            await asyncio.to_thread(forget_dead, self.folder.storage, this_machine(), child.pid)

    async def _end(self, tasks: list["asyncio.Task[None]"]) -> None:
        """Ask all children to end, give them a while, and kill those that don't."""
        self._is_ending = True
        until = asyncio.get_running_loop().time() + _END_SECONDS
        while running := {task for task in tasks if not task.done()}:
            for child in [part.child for part in self._parts if part.child is not None]:
                await (child.end() if asyncio.get_running_loop().time() < until else child.kill())
            await asyncio.wait(running, timeout=1.0)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _work(self, number: int) -> Work:
        run = self._run
        assert run.lease is not None  # noqa: S101 - _split looked
        return Work(
            checkpoints=run.prepared.store.storage.url,
            name=self.folder.name,
            plan=self._plan,
            part=number,
            what=f"process {number + 1} of {len(self._parts)} of {self._what}",
            claim=run.lease.token,
            credentials=run.credentials,
            steered=run.steered,
            is_closed=is_closed_process(),
            log_level=log.getEffectiveLevel(),
            may_ask_for_key=self._look_up is not None,
        )
