"""Splits a run into shards by the work that is left, and turns a shard into a run over its part of the rows."""

from datetime import UTC, datetime
from decimal import Decimal

from promptmill.checkpoints.spend import SpendRecords
from promptmill.checkpoints.store import Listing
from promptmill.errors import DatasetError, SetupError
from promptmill.job.absolute import absolute_job
from promptmill.places import shown_places
from promptmill.planning.estimate import estimate_run
from promptmill.planning.plan import Chunk
from promptmill.planning.preflight import Preflight
from promptmill.planning.prepared_job import prepare
from promptmill.provider.transport import Credentials
from promptmill.runs.run import PendingRun
from promptmill.sharding.folder import ShardFolder
from promptmill.sharding.plan import ShardPlan, share_job, split_evenly, split_money
from promptmill.steering.order_files import OrderFiles, SteeredRun


def split_run(run: PendingRun, parts: int | None = None) -> ShardPlan | None:
    """The plan for a run's shards, by the work that is left; None if there is nothing to split.

    It has at most `parts` shards, by default as many as the job asks for.

    Blocks. Records what was spent so far, so that the shards' own records add to it. Raises: StorageFailed.
    """
    job, store, plan = run.prepared.capped_job, run.prepared.store, run.preflight.plan
    listing = store.listing()
    weights = [_weight(chunk, listing, run.retry_failed) for chunk in plan.chunks]
    bounds = split_evenly(weights, job.shards if parts is None else parts)
    if not sum(weights) or (len(bounds) == 1 and job.task_runner == "local"):
        return None
    budgets: list[Decimal | None] = [None] * len(bounds)
    if job.budget_usd is not None:
        records = SpendRecords(store)
        spent = records.settle(listing)
        records.write(spent)
        sums = [sum(weights[first:stop]) for first, stop in bounds]
        budgets = [*split_money(max(Decimal(0), job.budget_usd - spent), sums)]
    return ShardPlan(
        job=absolute_job(job),
        fingerprint=plan.fingerprint,
        chunks=plan.chunks,
        repetitions=plan.repetitions,
        bounds=bounds,
        budgets_usd=budgets,
        retry_before=None if run.again is None else run.again.before,
        retry_all=run.again is None or run.again.is_all,
    )


def _steered_by(folder: ShardFolder) -> SteeredRun | None:
    """The run that this shard belongs to, as orders name it. Raises: StorageFailed."""
    found = OrderFiles(folder.storage).run()
    return found if found is not None and found.flow_run_id == folder.run_id else None


def _weight(chunk: Chunk, listing: Listing, retry_failed: bool) -> int:
    """The work of a chunk; 0: it is answered. Rows count beside tokens, since a short prompt takes time too."""
    return 0 if listing.is_finished(chunk.key) and not retry_failed else chunk.input_tokens + 100 * chunk.rows


def open_share(
    folder: ShardFolder, plan: ShardPlan, shard: int, credentials: Credentials, flow_run_ids: tuple[str, ...]
) -> PendingRun:
    """A shard as a run. Blocks. Raises: DatasetError if the input isn't the planned one; SetupError or a subclass."""
    if not 0 <= shard < len(plan.bounds):
        raise SetupError(f"there is no shard {shard}; the run has {len(plan.bounds)} (0 is the first). Start the run.")
    share = folder.share(plan, shard)
    started = datetime.now(UTC)
    prepared = prepare(share_job(plan.job, share), started.date())
    if prepared.dataset.fingerprint != plan.fingerprint:
        raise DatasetError(
            f"{shown_places(plan.job.input.urls)} isn't what was planned: somebody changed it, or this machine sees "
            "other files there. Let all workers read one and the same input, and run the job again: what was "
            "answered is kept."
        )
    whole = plan.plan()
    found = Preflight(whole, estimate_run(prepared, whole), ())
    return PendingRun(
        prepared=prepared,
        credentials=credentials,
        preflight=found,
        started_at=started,
        again=plan.again,
        flow_run_ids=flow_run_ids,
        share=share,
        steered=_steered_by(folder),
    )
