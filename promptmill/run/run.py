"""A run from plan to output: the parts that flows, samples and notebooks share, none of which knows Prefect."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from promptmill.batch.ledger import BatchRecord
from promptmill.dataset.dataset import Dataset
from promptmill.errors import RunStopped
from promptmill.job.spec import Job
from promptmill.limits.approved_cap import read_approved
from promptmill.limits.leased_bucket import Lessor
from promptmill.output.manifest import Manifest, manifest_values
from promptmill.planning.plan import Chunk
from promptmill.planning.preflight import Preflight, preflight
from promptmill.planning.prepared_job import Prepared, prepare
from promptmill.planning.standing_output import finished_manifest, refuse_foreign_output
from promptmill.provider.transport import Credentials
from promptmill.run.chunk import complete_chunk
from promptmill.run.chunk_loop import drive_chunks
from promptmill.run.engine import Engine, open_engine
from promptmill.run.progress import Progress
from promptmill.run.publish import RunFacts, counted_manifest, publish
from promptmill.run.share import Share
from promptmill.sharding.plan import sum_shards
from promptmill.storage import Storage


@dataclass(slots=True)
class Run:
    """One run of a job; `manifest` is there once it has ended."""

    prepared: Prepared
    credentials: Credentials
    preflight: Preflight | None  # None: the output is what the job would make, nothing is to be done
    retry_failed: bool
    started_at: datetime
    flow_run_ids: tuple[str, ...] = ()
    manifest: Manifest | None = None
    facts: RunFacts | None = None
    mode: str = "online"
    batches: Sequence[BatchRecord] = ()  # that this run's rows were in
    share: Share | None = None  # of a run that was split, where this is a shard of it
    shards: Sequence[Manifest] = ()  # how far each attempt at a shard of this run came
    progress: Progress | None = None  # of a run that has answered every row
    overwrite: bool = False  # another job's output may be replaced
    retry_since: float | None = None  # when asking again for failed rows began, where that was before this run

    @property
    def retry_before(self) -> float | None:
        """Failures answered before are asked again; seconds since the epoch. A batch run's own are final."""
        if not self.retry_failed:
            return None
        return self.started_at.timestamp() if self.retry_since is None else self.retry_since

    @property
    def is_pending(self) -> bool:
        """Whether there is anything to do."""
        return self.preflight is not None

    def summary(self) -> dict[str, Any]:
        """The manifest as JSON values."""
        assert self.manifest is not None  # noqa: S101 - the run has ended
        return manifest_values(self.manifest)


def plan_run(
    job: Job,
    credentials: Credentials,
    *,
    today: date,
    retry_failed: bool = False,
    overwrite: bool = False,
    dataset: Dataset | None = None,
    flow_run_ids: tuple[str, ...] = (),
    even_if_finished: bool = False,
) -> Run:
    """A run that may be started. Blocks. Raises: SetupError (and its kin)."""
    started = datetime.now(UTC)
    prepared = prepare(job, today, dataset)
    prepared = replace(prepared, approved=read_approved(prepared.store.storage))
    finished = None if even_if_finished else finished_manifest(prepared, retry_failed)
    found = None if finished is not None else preflight(prepared, credentials, overwrite)
    return Run(prepared, credentials, found, retry_failed, started, flow_run_ids, finished, overwrite=overwrite)


def look_again(run: Run) -> None:
    """See what another run over the output has left, which may be all that this one would make. Blocks.

    Raises: OutputError when it is another job's output, and may not be replaced.
    """
    run.manifest = finished_manifest(run.prepared, run.retry_failed)
    if run.manifest is not None:
        run.preflight = None
    else:
        refuse_foreign_output(run.prepared, run.overwrite)


@asynccontextmanager
async def answering(run: Run, lessor: Lessor | None = None) -> AsyncGenerator[Engine]:
    """The engine of a run; when the run ends early its manifest says how far it came.

    Raises: RunStopped (and its kin) when the run ended early; SetupError when `limits.shared` has no lessor.
    """
    assert run.preflight is not None  # noqa: S101 - callers ask run.manifest first
    plan = run.preflight.plan
    async with open_engine(run.prepared, plan, run.credentials, run.retry_before, lessor, run.share) as engine:
        engine.is_recorded = bool(run.shards)
        engine.may_send = run.mode == "online" or run.prepared.job.batch.leftovers == "online"
        try:
            yield engine
        except (RunStopped, asyncio.CancelledError) as error:
            reason = error if isinstance(error, RunStopped) else engine.stop.reason
            if reason is not None:
                facts = _facts(run, engine)
                run.manifest = counted_manifest(run.prepared, facts, engine.progress, reason.state)
            raise
        run.facts, run.progress = _facts(run, engine), engine.progress
        if run.share is not None:
            run.manifest = counted_manifest(run.prepared, run.facts, engine.progress, "completed")


def _facts(run: Run, engine: Engine) -> RunFacts:
    assert run.preflight is not None  # noqa: S101 - there is an engine
    counters, limiter, shards = engine.client.counters, engine.client.limiter, sum_shards(run.shards)
    return RunFacts(
        started_at=run.started_at,
        estimate=run.preflight.estimate,
        mode=run.mode,
        requests_sent=counters.requests + sum(one.requests for one in run.batches) + shards.requests_sent,
        attempts=counters.attempts + sum(one.requests for one in run.batches) + shards.attempts,
        reused=max(0, engine.progress.reused - sum(one.answered for one in run.batches) - shards.answered),
        batches=[{"id": one.batch_id, "status": one.status, "requests": one.requests} for one in run.batches],
        flow_run_ids=run.flow_run_ids,
        limits=(limiter.requests_per_minute, limiter.tokens_per_minute),
    )


async def publish_run(run: Run, target: Storage | None = None) -> Manifest:
    """Write the output of a run that has answered every row.

    Raises: StorageFailed, InputChanged: all answers are kept, and the run's manifest says that they are there.
    """
    assert run.preflight is not None  # noqa: S101 - there was something to do
    assert run.facts is not None and run.progress is not None  # noqa: S101, PT018 - and `answering` ended well
    try:
        run.manifest = await asyncio.to_thread(publish, run.prepared, run.preflight.plan, run.facts, target)
    except RunStopped as error:
        run.manifest = counted_manifest(run.prepared, run.facts, run.progress, error.state)
        raise
    return run.manifest


async def _reuse(engine: Engine, chunk: Chunk, answers: pa.Table) -> None:
    """Without Prefect nobody keeps a record of what was reused."""


async def run_plainly(run: Run, target: Storage | None = None, lessor: Lessor | None = None) -> Manifest:
    """Carry out a planned run without Prefect: for samples and notebooks.

    Raises: RunStopped (and its kin); SetupError when `limits.shared` has no lessor.
    """
    async with answering(run, lessor) as engine:
        await drive_chunks(engine, _reuse, complete_chunk)
    return await publish_run(run, target)
