"""A run in shards: split, started wherever there is room, followed until all have ended, and tried again when they die.

The run itself stays in charge: it alone approves, splits the money, and publishes; what no shard has answered in the end
(a shard may have spent its part of the budget while others left some of theirs) it answers itself.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from hashlib import blake2b
from typing import Protocol

from promptmill.errors import PromptmillError, RunStopped
from promptmill.manifest import Manifest
from promptmill.publishing import RunFacts, counted_manifest
from promptmill.runner import Run
from promptmill.shard_folder import ShardFolder, folders
from promptmill.shards import Ended, ShardPlan, sum_progress, sum_shards, verdict
from promptmill.splitting import split_run
from promptmill.store import Store
from tasks.progress import UNSHOWN, showing_lines
from tasks.shard_runs import is_away, shard_runs

LOOK_SECONDS = 2.0
COUNT_SECONDS = 15.0  # between two counts of the finished chunks, each a listing
END_SECONDS = 30.0  # that cancelled shards are given to tell how far they came
log = logging.getLogger("promptmill")


class Carrier(Protocol):
    """Whoever has shards carried out elsewhere."""

    adopts: bool  # what it started goes on when the run's process dies
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

    async def end_strays(self, kept: str | None) -> None:
        """End what earlier runs over this output left at work; `kept` is the URL of a plan that goes on."""
        ...


async def answer_in_shards(run: Run) -> None:
    """Have other processes answer the rows of a run that is to be split; any other run is left as it is.

    Raises: RunStopped (and its kin), with the run's manifest; SetupError when there is nobody to carry shards.
    """
    job = run.prepared.job
    if job.shards == 1 and job.task_runner == "local":
        return
    async with _carrier(run) as carrier:
        begun = await _begin(run, carrier)
        if begun is None:
            return
        following = _Following(run, carrier, *begun)
        try:
            await following.until_all_ended()
        except RunStopped as error:
            await following.end()
            run.manifest = following.manifest(error)
            raise
        except BaseException:
            with suppress(*UNSHOWN):
                await carrier.cancel()
            raise
        finally:
            run.shards = following.manifests
            run.flow_run_ids = (*run.flow_run_ids, *carrier.all_ids)
    await asyncio.to_thread(begun[0].remove)


@asynccontextmanager
async def _carrier(run: Run) -> AsyncGenerator[Carrier]:
    job = run.prepared.job
    if job.task_runner == "dask":
        from tasks.dask_shards import dask_shards

        async with dask_shards(run.prepared.store) as carrier:
            yield carrier
        return
    digest = blake2b(job.output.url.encode(), digest_size=4).hexdigest()
    async with shard_runs(job.shards, f"promptmill-output-{digest}") as carrier:
        yield carrier


async def _begin(run: Run, carrier: Carrier) -> tuple[ShardFolder, ShardPlan] | None:
    """The shards to follow: those of this very run if it died while they were at work, else new ones."""
    assert run.preflight is not None  # noqa: S101 - it is pending
    store, run_id = run.prepared.store, run.flow_run_ids[0]
    left = await asyncio.to_thread(folders, store)
    for folder in left:
        plan = await asyncio.to_thread(folder.read_plan) if folder.name.startswith(run_id) and carrier.adopts else None
        if plan is not None and plan.is_of(run.prepared.job, run.preflight.plan, run.retry_before):
            await carrier.end_strays(folder.plan_url)
            run.retry_since = plan.retry_before
            log.info("%d shards that were begun go on", len(plan.bounds))
            return folder, plan
    await carrier.end_strays(None)
    for folder in left:
        await asyncio.to_thread(folder.remove)
    return await asyncio.to_thread(_split, run, store, f"{run_id}-{secrets.token_hex(4)}")


def _split(run: Run, store: Store, name: str) -> tuple[ShardFolder, ShardPlan] | None:
    plan = split_run(run)
    if plan is None:
        return None
    folder = ShardFolder(store, name)
    folder.write_plan(plan)
    log.info("%d shards of about %d chunks each", len(plan.bounds), -(-len(plan.chunks) // len(plan.bounds)))
    return folder, plan


class _Following:
    """The shards of a run until their end."""

    def __init__(self, run: Run, carrier: Carrier, folder: ShardFolder, plan: ShardPlan) -> None:
        self._run, self._carrier, self._folder, self._plan = run, carrier, folder, plan
        self._open: dict[int, int] = dict.fromkeys(range(len(plan.bounds)), 1)  # shard → attempt
        self._started: dict[int, int] = {}  # likewise
        self._heard: dict[tuple[int, int], Manifest] = {}  # shard, attempt → how far it came

    @property
    def manifests(self) -> list[Manifest]:
        """How far each attempt came, of those that said so."""
        return list(self._heard.values())

    async def until_all_ended(self) -> None:
        """Start all, and those that die again. Raises: RunStopped (and its kin) when one ends the whole run."""
        async with showing_lines(self._run.prepared.job.name) as show:
            waited = COUNT_SECONDS
            while self._open:
                await self._step()
                if waited >= COUNT_SECONDS:
                    await show(*await asyncio.to_thread(self._count))
                    waited = 0.0
                await asyncio.sleep(LOOK_SECONDS)
                waited += LOOK_SECONDS
            await show(*await asyncio.to_thread(self._count))

    async def end(self) -> None:
        """Cancel what is under way, and hear for a while how far it came."""
        with suppress(*UNSHOWN):
            await self._carrier.cancel()
            for _ in range(int(END_SECONDS / LOOK_SECONDS)):
                if not (set(self._open) - set(await self._carrier.ended())):
                    break
                await asyncio.sleep(LOOK_SECONDS)
        for shard in list(self._open):
            with suppress(PromptmillError):
                await self._hear(shard)

    def manifest(self, reason: RunStopped) -> Manifest:
        """How far the run came."""
        assert self._run.preflight is not None  # noqa: S101 - it was split
        latest = {shard: one for (shard, _), one in sorted(self._heard.items())}
        sums = sum_shards(self.manifests)
        facts = RunFacts(
            self._run.started_at,
            self._run.preflight.estimate,
            requests_sent=sums.requests_sent,
            attempts=sums.attempts,
            reused=sum(one.reused for one in latest.values()),
            flow_run_ids=(*self._run.flow_run_ids, *self._carrier.all_ids),
        )
        progress = sum_progress(list(latest.values()), self._run.preflight.plan.rows)
        return counted_manifest(self._run.prepared, facts, progress, reason.state)

    async def _step(self) -> None:
        """Start what is to be started, and look what has ended; a server that is away is asked again at the next step."""
        try:
            for shard in [one for one, attempt in self._open.items() if self._started.get(one) != attempt]:
                await self._carrier.start(self._folder, self._plan, shard, self._open[shard])
                self._started[shard] = self._open[shard]
            found = await self._carrier.ended()
        except UNSHOWN as error:
            if not is_away(error):
                raise
            log.debug("shards can't be looked at: %s", error)  # they go on without it
            return
        for shard, ended in found.items():
            if shard in self._open:
                await self._judge(shard, ended)

    async def _judge(self, shard: int, ended: Ended) -> None:
        attempt, label = self._open[shard], self._plan.label(shard)
        outcome = await asyncio.to_thread(self._folder.read_outcome, shard, attempt)
        await self._hear(shard)
        judged = verdict(ended, outcome, attempt, label)
        if isinstance(judged, PromptmillError):
            raise judged
        if judged == "done":
            log.info("rows %s: their shard has %s", label, ended)
            del self._open[shard]
            return
        log.warning("rows %s: their shard has %s; attempt %d starts", label, ended, attempt + 1)
        self._open[shard] = attempt + 1

    async def _hear(self, shard: int) -> None:
        attempt = self._open[shard]
        outcome = await asyncio.to_thread(self._folder.read_outcome, shard, attempt)
        if outcome is not None and outcome.manifest is not None:
            self._heard[shard, attempt] = outcome.manifest

    def _count(self) -> tuple[str, float]:
        """How many rows lie in finished chunks, in a line and in per cent."""
        listing = self._run.prepared.store.listing()
        rows = sum(chunk.rows for chunk in self._plan.chunks if listing.is_finished(chunk.key))
        total = sum(chunk.rows for chunk in self._plan.chunks)
        done = len(self._plan.bounds) - len(self._open)
        return f"shards {done} of {len(self._plan.bounds)} · rows {rows:,} of {total:,}", 100 * rows / max(1, total)
