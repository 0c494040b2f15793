"""A run from plan to output: the steps that flows, samples and notebooks share. None of them needs Prefect.

What a run is: run_state.py.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import partial

from promptmill.dataset.dataset import Dataset
from promptmill.errors import InputChanged, RunStopped, StorageFailed
from promptmill.job.spec import Job
from promptmill.limits.approved_cap import read_approved
from promptmill.limits.leased_bucket import Lessor
from promptmill.planning.cached import cache_of
from promptmill.planning.head import HEAD_ROWS, why_whole
from promptmill.planning.kept import asked_again
from promptmill.planning.kept_plan import forget_plan
from promptmill.planning.opened_job import open_job
from promptmill.planning.preflight import Ahead, preflight
from promptmill.planning.prepared_job import Prepared, prepare, prepare_opened
from promptmill.planning.standing_output import finished_manifest, refuse_foreign_output, retry_scope
from promptmill.provider.access import base_url_of
from promptmill.provider.transport import Credentials
from promptmill.runs.cached_answers import Contribution
from promptmill.runs.elsewhere import NOTHING_ELSEWHERE, Elsewhere
from promptmill.runs.engine import Engine, LookUpCredentials, open_engine
from promptmill.runs.progress import Progress
from promptmill.runs.publish import publish
from promptmill.runs.run_state import FinishedRun, PendingRun, Run
from promptmill.runs.steered import steered
from promptmill.runs.steps import both, close_waits, showing_step
from promptmill.runs.totals import RunFacts, counted_manifest
from promptmill.storage import Storage
from promptmill.telling import Tell, tell_nobody

log = logging.getLogger("promptmill")


@dataclass(frozen=True, slots=True)
class Planning:
    """How a run is planned, beside its job."""

    today: date  # for `{{ date }}` in output.url
    retry_failed: bool = False
    overwrite: bool = False
    flow_run_ids: tuple[str, ...] = ()
    mode: str = "online"
    dataset: Dataset | None = field(default=None, compare=False)  # instead of input.url
    is_a_look: bool = False  # nothing is sent, so the credentials needn't be there
    tell: Tell = tell_nobody  # called with the rows planned so far; what it raises ends the planning
    say: Callable[[str], None] = field(default=log.info, compare=False)  # tells a person what takes a while
    is_whole: bool = False  # all rows are planned, even if the run might ask before
    head_rows: int = HEAD_ROWS  # else so many, before the first request


def plan_run(job: Job, credentials: Credentials, planning: Planning) -> Run:
    """The run of a job: finished where its output is complete already. Blocks. Raises: SetupError or a subclass."""
    started = datetime.now(UTC)
    opened = open_job(job, planning.today, planning.dataset)
    standing = finished_manifest(opened, retry_scope(job, planning.retry_failed))
    if standing is not None:
        return FinishedRun(opened, standing)
    return plan_prepared(with_approval(prepare_opened(opened)), credentials, planning, started)


def plan_pending_run(job: Job, credentials: Credentials, planning: Planning) -> PendingRun:
    """The run of a job as if it had no output yet, to look at its plan. Blocks. Raises: SetupError or a subclass."""
    started, whole = datetime.now(UTC), replace(planning, is_whole=True)
    return plan_prepared(with_approval(prepare(job, planning.today, planning.dataset)), credentials, whole, started)


def with_approval(prepared: Prepared) -> Prepared:
    """The prepared job, with what a person approved for its output. Blocks. Raises: StorageFailed."""
    return replace(prepared, approved=read_approved(prepared.store.storage))


def plan_prepared(prepared: Prepared, credentials: Credentials, planning: Planning, started: datetime) -> PendingRun:
    """The run of a prepared job whose output isn't complete. Blocks. Raises: SetupError or a subclass."""
    found = preflight(
        prepared,
        credentials,
        planning.overwrite,
        planning.tell,
        needs_key=not planning.is_a_look,
        look_ahead=partial(_ahead, prepared, planning),
    )
    if not planning.is_a_look:
        prepared.routed_to(base_url_of(credentials))
    scope = retry_scope(prepared.job, planning.retry_failed)
    return PendingRun(
        prepared=prepared,
        credentials=credentials,
        preflight=found,
        started_at=started,
        again=asked_again(prepared.store, scope, started.timestamp()),
        overwrite=planning.overwrite,
        flow_run_ids=planning.flow_run_ids,
        mode=planning.mode,
    )


def _ahead(prepared: Prepared, planning: Planning) -> Ahead:
    """How much is planned before the run asks. Blocks. Raises: StorageFailed."""
    waits = why_whole(
        prepared.job,
        planning.mode,
        is_capped=prepared.budget_usd is not None,
        is_cached=cache_of(prepared.job) is not None,
        is_drawn=bool(prepared.dataset.drawn),
        unplanned=len(prepared.store.listing().finished),
    )
    return Ahead(waits, planning.is_whole, planning.head_rows, may_keep=not planning.is_a_look, say=planning.say)


def look_again(run: PendingRun) -> Run:
    """The run after another one over the same output ended: finished if that one did all of its work. Blocks.

    Raises: OutputError when the other run left another job's output, which this run may not replace.
    """
    manifest = finished_manifest(run.prepared, retry_scope(run.prepared.job, run.retry_failed))
    if manifest is not None:
        return FinishedRun(run.prepared, manifest)
    refuse_foreign_output(run.prepared, run.overwrite)
    return run


@asynccontextmanager
async def answering(
    run: PendingRun,
    lessor: Lessor | None = None,
    elsewhere: Elsewhere = NOTHING_ELSEWHERE,
    look_up_credentials: LookUpCredentials | None = None,
) -> AsyncGenerator[Engine]:
    """The engine of a run; `elsewhere` is what others did of it before.

    Raises: RunStopped or a subclass when the run ended early, with the manifest of how far it came; SetupError when
    `limits.shared` has no lessor.
    """
    again = run.again if elsewhere.again is None else elsewhere.again
    plan, may_send = run.preflight.plan, run.mode == "online" or run.prepared.job.batch.leftovers == "online"
    async with open_engine(
        run.prepared,
        plan,
        run.credentials,
        again,
        lessor,
        run.share,
        elsewhere,
        may_send=may_send,
        growth=run.preflight.growth,
        lease=run.lease,
        look_up_credentials=look_up_credentials,
    ) as engine:
        try:
            async with steered(run, engine):
                yield engine
        except RunStopped as error:
            await asyncio.to_thread(engine.tell_of_unsaved, error)
            if isinstance(error, InputChanged):
                await asyncio.to_thread(forget_plan, run.prepared)
            tell_how_far(error, run, _run_facts(run, engine), engine.progress)
            raise
        except asyncio.CancelledError:
            if engine.stop.reason is not None:
                tell_how_far(engine.stop.reason, run, _run_facts(run, engine), engine.progress)
            raise


def tell_how_far(error: RunStopped, run: PendingRun, facts: RunFacts, progress: Progress) -> None:
    """Give the error of a run that ended early the manifest that says how far the run came."""
    error.manifest = counted_manifest(run.prepared, facts, progress, error.state)


def _run_facts(run: PendingRun, engine: Engine) -> RunFacts:
    """What a run did, its own requests and those of others on its behalf."""
    counters, limiter, elsewhere = engine.client.counters, engine.client.limiter, engine.elsewhere
    requests, attempts = elsewhere.requests + counters.requests, elsewhere.attempts + counters.attempts
    facts = facts_of_work(
        run,
        replace(elsewhere, requests=requests, attempts=attempts),
        reused=max(0, engine.progress.reused - elsewhere.answered),
        limits=(limiter.requests_per_minute, limiter.tokens_per_minute),
    )
    return replace(
        facts,
        unknown=dict(counters.unknown),
        retries=dict((Counter(elsewhere.retries) + Counter(counters.retries_by_kind)).most_common()),
        retries_over_time=dict(counters.retries),
        limited_by=elsewhere.limited_by or engine.limit_watch.shares,
        steering=engine.steering,
    )


def facts_of_work(
    run: PendingRun, work: Elsewhere, reused: int = 0, limits: tuple[float | None, float | None] = (None, None)
) -> RunFacts:
    """What a manifest says of a run beside its answers."""
    return RunFacts(
        started_at=run.started_at,
        estimate=run.preflight.estimate,
        mode=run.mode,
        requests_sent=work.requests,
        attempts=work.attempts,
        reused=reused,
        batches=work.batches,
        deadline=work.deadline,
        retries=work.retries,
        limited_by=work.limited_by,
        flow_run_ids=(*run.flow_run_ids, *work.flow_run_ids),
        limits=limits,
    )


async def publish_run(
    run: PendingRun, engine: Engine, target: Storage | None = None, tell: Tell = tell_nobody
) -> FinishedRun:
    """Write the output of a run that has answered every row; `tell` is told of the rows written so far.

    Raises: StorageFailed, InputChanged, LeaseLost, TooManyFailures: every answer is kept, and the error's manifest says so.
    """
    run = replace(run, preflight=await asyncio.to_thread(run.preflight.finished, run.prepared))
    prepared, plan, lease, facts = run.prepared, run.preflight.plan, run.lease, _run_facts(run, engine)
    try:
        if target is None:  # a sample shows its failures
            engine.progress.refuse_failed_run()
        if lease is not None:
            await lease.confirm()
        with suppress(StorageFailed):  # then the audit says that more may be lost than is
            await engine.exposure.close()
        cached = run.preflight.cached if target is None else None
        adding = Contribution(cached, f"{run.prepared.job.name} {run.started_at}")
        with showing_step("publishing", plan.rows, close_waits()) as show:
            manifest = await asyncio.to_thread(publish, prepared, plan, facts, target, both(tell, show), adding, lease)
        await asyncio.to_thread(engine.drop_cached)
    except RunStopped as error:
        tell_how_far(error, run, _run_facts(run, engine), engine.progress)
        raise
    return FinishedRun(run.prepared, manifest)


def end_share(run: PendingRun, engine: Engine) -> FinishedRun:
    """A shard that has answered its rows: the run that was split publishes them."""
    facts = _run_facts(run, engine)
    return FinishedRun(run.prepared, counted_manifest(run.prepared, facts, engine.progress, "completed"))
