"""The shards of a run, followed until all have ended: begun, looked at, tried again when they die."""

import asyncio
import logging
from contextlib import suppress
from typing import Protocol

from promptmill.errors import PromptmillError, RunStopped, StorageFailed
from promptmill.output.manifest import Manifest
from promptmill.run.elsewhere import Elsewhere
from promptmill.run.run import PendingRun, facts_of_work, tell_how_far
from promptmill.sharding.folder import ShardFolder
from promptmill.sharding.plan import Ended, Outcome, ShardPlan, sum_progress, sum_shards, verdict
from tasks.run.progress import showing_lines
from tasks.server.automations import RERUN_SECONDS
from tasks.server.outages import CALL_ERRORS, is_away

LOOK_SECONDS = 2.0
COUNT_SECONDS = 15.0  # between two counts of the finished chunks, each a listing
START_SECONDS = 90.0  # until somebody is told that no shard was begun
UNREADABLE_SECONDS = 600.0  # that the storage may be away when an outcome is to be read
END_SECONDS = 30.0  # that cancelled shards are given to tell how far they came
log = logging.getLogger("promptmill")


class Carrier(Protocol):
    """Whoever has shards carried out elsewhere."""

    adopts: bool  # what it started goes on when the run's process dies
    waiting: int  # shards that nobody has begun, at the last look
    all_ids: list[str]  # of the flow runs that it started

    async def start(self, folder: ShardFolder, plan: ShardPlan, shard: int, attempt: int) -> None:
        """Start an attempt at a shard."""
        ...

    async def ended(self) -> dict[int, Ended]:
        """The shards whose latest attempt has ended."""
        ...

    async def cancel(self) -> None:
        """Have what is under way end soon."""
        ...


class Following:
    """The shards of a run until their end."""

    def __init__(self, run: PendingRun, carrier: Carrier, folder: ShardFolder, plan: ShardPlan) -> None:
        self._run, self._carrier, self._folder, self._plan = run, carrier, folder, plan
        self._open: dict[int, int] = dict.fromkeys(range(len(plan.bounds)), 1)  # shard → attempt
        self._started: dict[int, int] = {}  # likewise
        self._not_before: dict[int, float] = {}  # shard → when its next attempt may start
        self._is_warned = False
        self._unreadable_since: dict[int, float] = {}  # shard → when its end could first not be judged
        self._rows_done = 0  # in finished chunks, at the last count
        self._heard: dict[tuple[int, int], Manifest] = {}  # shard, attempt → how far it came

    @property
    def work(self) -> Elsewhere:
        """What the shards did, by those of their attempts that told how far they came."""
        sums = sum_shards(list(self._heard.values()))
        return Elsewhere(
            requests=sums.requests_sent,
            attempts=sums.attempts,
            answered=sums.answered,
            flow_run_ids=tuple(self._carrier.all_ids),
            are_chunks_recorded=bool(self._heard),
            retry_since=self._plan.retry_before,
        )

    async def until_all_ended(self) -> None:
        """Start all, and those that die again. Raises: RunStopped (and its kin) when one ends the whole run."""
        async with showing_lines(self._run.prepared.job.name) as show:
            waited, began = COUNT_SECONDS, _now()
            while self._open:
                await self._step()
                self._warn_of_waiting(_now() - began)
                if waited >= COUNT_SECONDS:
                    await show(*await self._count())
                    waited = 0.0
                await asyncio.sleep(LOOK_SECONDS)
                waited += LOOK_SECONDS
            await show(*await self._count())

    async def end(self) -> None:
        """Cancel what is under way, and hear for a while how far it came."""
        with suppress(*CALL_ERRORS):
            await self._carrier.cancel()
            for _ in range(int(END_SECONDS / LOOK_SECONDS)):
                if not (set(self._open) - set(await self._carrier.ended())):
                    break
                await asyncio.sleep(LOOK_SECONDS)
        for shard in list(self._open):
            with suppress(PromptmillError):
                await self._read_outcome(shard)

    def tell_how_far(self, error: RunStopped) -> None:
        """Give the error that ends the run the manifest of how far its shards came."""
        latest = {shard: manifest for (shard, _), manifest in sorted(self._heard.items())}
        progress = sum_progress(list(latest.values()), self._run.preflight.plan.rows)
        reused = sum(manifest.reused for manifest in latest.values())
        tell_how_far(error, self._run, facts_of_work(self._run, self.work, reused), progress)

    async def _step(self) -> None:
        """Start what is to be started, and look what has ended; a server that is away is asked again at the next step."""
        try:
            for shard in self._due():
                await self._carrier.start(self._folder, self._plan, shard, self._open[shard])
                self._started[shard] = self._open[shard]
            found = await self._carrier.ended()
        except CALL_ERRORS as error:
            if not is_away(error):
                raise
            log.debug("shards can't be looked at: %s", error)  # they go on without it
            return
        for shard, ended in found.items():
            if shard in self._open and self._started[shard] == self._open[shard]:
                await self._judge(shard, ended)

    def _due(self) -> list[int]:
        """The shards whose next attempt is to be started now."""
        waiting = [shard for shard, attempt in self._open.items() if self._started.get(shard) != attempt]
        return [shard for shard in waiting if self._not_before.get(shard, 0.0) <= _now()]

    def _warn_of_waiting(self, seconds: float) -> None:
        """Say once that nobody takes the shards."""
        if self._is_warned or seconds < START_SECONDS or self._carrier.waiting < len(self._open):
            return
        self._is_warned = True
        log.warning(
            "none of %d shards was begun within %.0f s; each is a run that takes a place of its worker's besides this one. "
            "Start a worker or raise the limit of the work pool, its queue or the worker: the shards wait until then.",
            self._carrier.waiting,
            START_SECONDS,
        )

    async def _judge(self, shard: int, ended: Ended) -> None:
        attempt, label = self._open[shard], self._plan.label(shard)
        try:
            outcome = await self._read_outcome(shard)
            judged = verdict(ended, outcome, attempt, label)
            if judged == "again":
                await asyncio.to_thread(self._folder.take_over, shard, attempt + 1)
        except StorageFailed as error:
            self._bear(shard, error)
            return
        self._unreadable_since.pop(shard, None)
        if isinstance(judged, PromptmillError):
            raise judged
        if judged == "done":
            log.info("rows %s: their shard has %s", label, ended)
            del self._open[shard]
            return
        pause = (
            RERUN_SECONDS if outcome is None else 0
        )  # its process may live, and has yet to see that it lost the shard
        log.warning("rows %s: their shard has %s; attempt %d starts in %d s", label, ended, attempt + 1, pause)
        self._open[shard], self._not_before[shard] = attempt + 1, _now() + pause

    async def _read_outcome(self, shard: int) -> Outcome | None:
        """What the latest attempt told of its end, kept. Raises: StorageFailed."""
        attempt = self._open[shard]
        outcome = await asyncio.to_thread(self._folder.read_outcome, shard, attempt)
        if outcome is not None and outcome.manifest is not None:
            self._heard[shard, attempt] = outcome.manifest
        return outcome

    def _bear(self, shard: int, error: StorageFailed) -> None:
        """Let a shard's end be judged again at the next step: the others go on. Raises: the error, after a time."""
        if shard not in self._unreadable_since:
            log.warning(
                "rows %s: how their shard ended can't be read or answered, and is tried for %.0f s: %s",
                self._plan.label(shard),
                UNREADABLE_SECONDS,
                error.__cause__,
            )
        if _now() - self._unreadable_since.setdefault(shard, _now()) >= UNREADABLE_SECONDS:
            raise error

    async def _count(self) -> tuple[str, float]:
        """How many rows lie in finished chunks, in a line and in per cent; as last counted while the storage is away."""
        with suppress(StorageFailed):
            self._rows_done = await asyncio.to_thread(self._count_rows)
        rows, total = self._rows_done, sum(chunk.rows for chunk in self._plan.chunks)
        done, waiting = len(self._plan.bounds) - len(self._open), self._carrier.waiting
        wait = f", {waiting} waiting for a worker" if waiting else ""
        line = f"shards {done} of {len(self._plan.bounds)}{wait} · rows {rows:,} of {total:,}"
        return line, 100 * rows / max(1, total)

    def _count_rows(self) -> int:
        listing = self._run.prepared.store.listing()
        return sum(chunk.rows for chunk in self._plan.chunks if listing.is_finished(chunk.key))


def _now() -> float:
    return asyncio.get_running_loop().time()
