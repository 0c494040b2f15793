"""The shards of a run until the last has ended: started, watched, and started again when they die.

An attempt at a shard that ended without an outcome may still be alive, cut off from the server. So the next attempt is
written down first, and starts only after the earlier process had time to see that.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from promptmill.errors import PromptmillError, RunStopped, StorageFailed
from promptmill.output.manifest import Manifest
from promptmill.runs.elsewhere import Elsewhere
from promptmill.runs.run import PendingRun, facts_of_work, tell_how_far
from promptmill.sharding.folder import ShardFolder
from promptmill.sharding.plan import Ended, Outcome, ShardPlan, sum_progress, sum_shards, verdict
from promptmill.steering.orders import NOT_STEERED
from tasks.run.progress import showing_lines
from tasks.server.automations import RERUN_SECONDS
from tasks.server.outages import CALL_ERRORS, is_away

STEP_SECONDS = 2.0  # between two looks at the shards
COUNT_SECONDS = 15.0  # between two counts of the finished chunks, each a listing
_UNBEGUN_SECONDS = 90.0  # before we log that no worker has begun a shard
UNREADABLE_SECONDS = 600.0  # for which the storage may be away before the run fails for want of an outcome
_END_SECONDS = 30.0  # for cancelled shards to say how far they came
log = logging.getLogger("promptmill")


class Carrier(Protocol):
    """Has shards carried out elsewhere: by Prefect workers or on a Dask cluster."""

    adopts: bool  # whether the shards it started go on when the run's process dies
    waiting: int  # shards that no worker had begun at the last look
    all_ids: list[str]  # of the flow runs that it started

    async def start(self, folder: ShardFolder, plan: ShardPlan, shard: int, attempt: int) -> None:
        """Start an attempt at a shard."""
        ...

    async def ended(self) -> dict[int, Ended]:
        """The shards whose latest attempt has ended."""
        ...

    async def cancel(self) -> None:
        """Have all shards end soon."""
        ...


@dataclass(slots=True)
class _Watched:
    """What the run knows of one shard."""

    attempt: int = 1  # the latest; 1 = the first
    started: int = 0  # the latest attempt that was handed over; 0 = none
    not_before: float = 0.0  # when the latest attempt may start, in seconds of the event loop
    unreadable_since: float | None = None  # when its end first couldn't be judged; None = it could
    is_done: bool = False
    heard: dict[int, Manifest] = field(default_factory=dict)  # attempt → how far it came

    def is_due(self, now: float) -> bool:
        """Whether the latest attempt is to be started now."""
        return not self.is_done and self.started != self.attempt and self.not_before <= now


class Following:
    """Follows the shards of a run until their end."""

    def __init__(self, run: PendingRun, carrier: Carrier, folder: ShardFolder, plan: ShardPlan) -> None:
        self._run, self._carrier, self._folder, self._plan = run, carrier, folder, plan
        self._shards = [_Watched() for _ in plan.bounds]
        self._is_warned = False
        self.steering = NOT_STEERED  # what people told the run since it began
        self._rows_done = 0  # in finished chunks, at the last count

    @property
    def work(self) -> Elsewhere:
        """What the shards did, by those of their attempts that told how far they came."""
        heard = [manifest for watched in self._shards for _, manifest in sorted(watched.heard.items())]
        sums = sum_shards(heard)
        return Elsewhere(
            requests=sums.requests_sent,
            attempts=sums.attempts,
            retries=sums.retries,
            limited_by=sums.limited_by,
            answered=sums.answered,
            flow_run_ids=tuple(self._carrier.all_ids),
            are_chunks_recorded=bool(heard),
            again=self._plan.again,
        )

    @property
    def _open(self) -> list[int]:
        """The shards that aren't done."""
        return [shard for shard, watched in enumerate(self._shards) if not watched.is_done]

    @property
    def done(self) -> list[int]:
        """The shards that are done."""
        return [shard for shard, watched in enumerate(self._shards) if watched.is_done]

    async def until_all_ended(self) -> None:
        """Start all shards, and again those that die. Raises: RunStopped or a subclass when a shard ends the whole run."""
        async with showing_lines(self._run.prepared.job.name) as show:
            waited, began = COUNT_SECONDS, _now()
            while self._open:
                await self._step()
                self._warn_of_waiting(_now() - began)
                if waited >= COUNT_SECONDS:
                    await show(*await self._count())
                    waited = 0.0
                await asyncio.sleep(STEP_SECONDS)
                waited += STEP_SECONDS
            await show(*await self._count())

    async def end(self) -> None:
        """Cancel the shards, and give them a while to say how far they came."""
        with suppress(*CALL_ERRORS):
            await self._carrier.cancel()
            for _ in range(int(_END_SECONDS / STEP_SECONDS)):
                if not (set(self._open) - set(await self._carrier.ended())):
                    break
                await asyncio.sleep(STEP_SECONDS)
        for shard in self._open:
            with suppress(PromptmillError):
                await self._read_outcome(shard)

    def tell_how_far(self, error: RunStopped) -> None:
        """Give the error that ends the run the manifest of how far its shards came."""
        latest = [watched.heard[max(watched.heard)] for watched in self._shards if watched.heard]
        progress = sum_progress(latest, self._run.preflight.plan.rows)
        reused = sum(manifest.reused for manifest in latest)
        facts = replace(facts_of_work(self._run, self.work, reused), steering=self.steering)
        tell_how_far(error, self._run, facts, progress)

    async def _step(self) -> None:
        """Start the shards that are due, and judge those that ended. If the server is away, the next step asks it again."""
        try:
            for shard, watched in enumerate(self._shards):
                if watched.is_due(_now()):
                    await self._carrier.start(self._folder, self._plan, shard, watched.attempt)
                    watched.started = watched.attempt
            found = await self._carrier.ended()
        except CALL_ERRORS as error:
            if not is_away(error):
                raise
            log.debug("shards can't be looked at: %s", error)  # they go on without the server
            return
        for shard, ended in found.items():
            watched = self._shards[shard]
            if not watched.is_done and watched.started == watched.attempt:
                await self._judge(shard, ended)

    def _warn_of_waiting(self, seconds: float) -> None:
        """Log once that no worker begins the shards."""
        if self._is_warned or seconds < _UNBEGUN_SECONDS or self._carrier.waiting < len(self._open):
            return
        self._is_warned = True
        log.warning(
            "no worker has begun any of %d shards within %.0f s; each shard is a run and takes a place in the pool beside "
            "this run. Start a worker, or raise the limit of the work pool, its queue or the worker: the shards wait.",
            self._carrier.waiting,
            _UNBEGUN_SECONDS,
        )

    async def _judge(self, shard: int, ended: Ended) -> None:
        watched, label = self._shards[shard], self._plan.label(shard)
        try:
            outcome = await self._read_outcome(shard)
            judged = verdict(ended, outcome, watched.attempt, label)
            if judged == "again":
                await asyncio.to_thread(self._folder.begin_attempt, shard, watched.attempt + 1)
        except StorageFailed as error:
            self._bear(shard, error)
            return
        watched.unreadable_since = None
        if isinstance(judged, PromptmillError):
            raise judged
        if judged == "done":
            log.info("rows %s: their shard has %s", label, ended)
            watched.is_done = True
            return
        # Without an outcome, the shard's process may live: it needs time to see that it lost the shard.
        pause = RERUN_SECONDS if outcome is None else 0
        watched.attempt, watched.not_before = watched.attempt + 1, _now() + pause
        log.warning("rows %s: their shard has %s; attempt %d starts in %d s", label, ended, watched.attempt, pause)

    async def _read_outcome(self, shard: int) -> Outcome | None:
        """How the latest attempt says it ended; kept. Raises: StorageFailed."""
        watched = self._shards[shard]
        outcome = await asyncio.to_thread(self._folder.read_outcome, shard, watched.attempt)
        if outcome is not None and outcome.manifest is not None:
            watched.heard[watched.attempt] = outcome.manifest
        return outcome

    def _bear(self, shard: int, error: StorageFailed) -> None:
        """Leave a shard's end to the next step, so that the others go on. Raises: the error, once it has lasted too long."""
        watched, now = self._shards[shard], _now()
        if watched.unreadable_since is None:
            watched.unreadable_since = now
            log.warning(
                "rows %s: the storage doesn't say how their shard ended; we try again for %.0f s: %s",
                self._plan.label(shard),
                UNREADABLE_SECONDS,
                error.__cause__,
            )
        if now - watched.unreadable_since >= UNREADABLE_SECONDS:
            raise error

    async def _count(self) -> tuple[str, float]:
        """How many rows lie in finished chunks, in a line and in per cent; the last count while the storage is away."""
        with suppress(StorageFailed):
            self._rows_done = await asyncio.to_thread(self._count_rows)
        rows, total = self._rows_done, sum(chunk.rows for chunk in self._plan.chunks)
        done, waiting = len(self._plan.bounds) - len(self._open), self._carrier.waiting
        wait = f", {waiting} waiting for a worker" if waiting else ""
        pause = "" if self.steering.pause is None else f" · {self.steering.pause}"
        line = f"shards {done} of {len(self._plan.bounds)}{wait} · rows {rows:,} of {total:,}{pause}"
        return line, 100 * rows / max(1, total)

    def _count_rows(self) -> int:
        listing = self._run.prepared.store.listing()
        return sum(chunk.rows for chunk in self._plan.chunks if listing.is_finished(chunk.key))


def _now() -> float:
    return asyncio.get_running_loop().time()
