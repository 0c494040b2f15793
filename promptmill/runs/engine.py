"""All that the chunks of one run share: job, plan, client, store, progress."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal

import pyarrow as pa

from promptmill.arrow import pc
from promptmill.checkpoints.output_lease import OutputLease
from promptmill.checkpoints.spend import SPEND, SpendRecords
from promptmill.checkpoints.store import BATCH_ROWS, Listing, Store
from promptmill.dataset.dataset import Dataset
from promptmill.errors import SetupError
from promptmill.job.spec import Job, Limits
from promptmill.limits.budget import Budget
from promptmill.limits.leased_bucket import Lessor
from promptmill.limits.pricing import requested_tier
from promptmill.limits.rate_limiter import RateLimiter
from promptmill.planning.kept import Again, Kept, find_kept
from promptmill.planning.plan import Chunk, Plan
from promptmill.planning.prepared_job import Prepared
from promptmill.prompts.request_builder import RequestBuilder
from promptmill.provider.billing import Billing
from promptmill.provider.client import Client
from promptmill.provider.evidence import Evidence
from promptmill.provider.key_renewal import RenewKeys
from promptmill.provider.transport import Credentials, Transport
from promptmill.runs.elsewhere import NOTHING_ELSEWHERE, Elsewhere
from promptmill.runs.judging import Validate
from promptmill.runs.progress import Progress
from promptmill.runs.share import Share
from promptmill.stop import Stop

LookUpCredentials = Callable[[], Awaitable[Credentials]]
log = logging.getLogger("promptmill")


@dataclass(slots=True)
class Engine:
    """One run's shared parts; lives on one event loop."""

    job: Job
    plan: Plan  # of the whole run
    chunks: Sequence[Chunk]  # that this process answers
    dataset: Dataset
    builder: RequestBuilder
    validate: Validate | None
    client: Client
    slots: asyncio.Semaphore
    stop: Stop
    store: Store
    kept: Kept  # the answers that there were when the run began
    progress: Progress
    elsewhere: Elsewhere = NOTHING_ELSEWHERE  # what others did of the run before
    may_send: bool = True  # False: every row is answered already, by batches
    unsaved: dict[str, list[pa.Table]] = field(default_factory=dict[str, list[pa.Table]])
    # chunk key → answers that its last task run could not save; the next one sends none of them again

    def replaced_by(self, chunk: Chunk, saved: Sequence[str]) -> list[str]:
        """The files that a finished chunk's answers replace."""
        return [*saved, *self.kept.listing.unfinished.get(chunk.key, [])]

    def drop_collected(self) -> None:
        """Remove the answer files that batches brought: finished chunks hold their answers now. Blocks."""
        self.store.storage.delete(self.kept.index.used_up(BATCH_ROWS))

    def log_chunk(self, chunk: Chunk, answers: pa.Table, sent: int, size: int, seconds: float) -> None:
        """One line for a finished chunk."""
        failed = answers.num_rows - pc.sum(pc.is_null(answers["kind"])).as_py()
        log.info(
            "rows %s: %d answered, %d failed, %d sent, %d tokens in, %d out, $%s, %.1f s, %d bytes",
            chunk.label,
            answers.num_rows - failed,
            failed,
            sent,
            pc.sum(answers["input_tokens"]).as_py(),
            pc.sum(answers["output_tokens"]).as_py(),
            pc.sum(answers["cost_usd"]).as_py().normalize(),
            seconds,
            size,
        )


@asynccontextmanager
async def open_engine(
    prepared: Prepared,
    plan: Plan,
    credentials: Credentials,
    again: Again | None = None,
    lessor: Lessor | None = None,
    share: Share | None = None,
    elsewhere: Elsewhere = NOTHING_ELSEWHERE,
    *,
    may_send: bool = True,
    lease: OutputLease | None = None,
    look_up_credentials: LookUpCredentials | None = None,
) -> AsyncGenerator[Engine]:
    """The shared parts of a run, closed at its end.

    `lessor` hands out the limit that `limits.shared` names. `again` names the failures of earlier
    runs that are asked for again. With a `share`, this process answers only that part of the run. With a `lease`,
    nothing is sent once another run holds the output. `look_up_credentials` is asked when the provider refuses the key.

    Raises: CredentialsError, StorageFailed; SetupError when `limits.shared` has no lessor.
    """
    job, store = prepared.job, prepared.store
    limiter = _limiter(job.limits, lessor, 1.0 if share is None else share.part)
    chunks = plan.chunks if share is None else plan.chunks[share.first : share.stop]
    kept = await asyncio.to_thread(find_kept, store, plan, again, None if share is None else chunks)
    budget = await _open_budget(prepared, kept.listing, share)
    stop = Stop(None if lease is None else lease.confirm)
    progress = Progress(sum(chunk.rows for chunk in chunks), job.max_failure_ratio, stop)
    timeout, most = job.retry.request_timeout_seconds, job.limits.max_concurrency
    async with Transport(credentials, job.request.endpoint, most, timeout) as transport:
        client = _client(prepared, transport, limiter, budget, stop, progress, look_up_credentials)
        try:
            yield Engine(
                job=job,
                plan=plan,
                chunks=chunks,
                dataset=prepared.dataset,
                builder=prepared.builder,
                validate=None if prepared.schema is None else prepared.schema.validate,
                client=client,
                slots=asyncio.Semaphore(most),
                stop=stop,
                store=store,
                kept=kept,
                progress=progress,
                elsewhere=elsewhere,
                may_send=may_send,
            )
        finally:
            await limiter.close()
            await budget.close()


def _client(
    prepared: Prepared,
    transport: Transport,
    limiter: RateLimiter,
    budget: Budget,
    stop: Stop,
    progress: Progress,
    look_up_credentials: LookUpCredentials | None,
) -> Client:
    job = prepared.job
    return Client(
        sender=transport,
        endpoint=job.request.endpoint,
        limiter=limiter,
        budget=budget,
        billing=Billing(prepared.prices, requested_tier(job.request.parameters), prepared.counter.count),
        retry=job.retry,
        stop=stop,
        secrets=transport.secrets,
        evidence=Evidence(lambda: progress.done > progress.failed),
        renew_key=_renewing(transport, look_up_credentials),
    )


def _renewing(transport: Transport, look_up: LookUpCredentials | None) -> RenewKeys | None:
    if look_up is None:
        return None

    async def renew() -> bool:
        return transport.renew(await look_up())

    return renew


def _limiter(limits: Limits, lessor: Lessor | None, part: float) -> RateLimiter:
    if limits.shared is not None and lessor is None:
        raise SetupError(
            f"limits.shared is {limits.shared!r}, a limit that is leased from a Prefect server; this run has none and "
            "would send on top of everybody else's. Run the job by `promptmill run` or `promptmill sample`, or leave "
            "limits.shared out and give this process its own part as limits.requests_per_minute and "
            "limits.tokens_per_minute."
        )
    return RateLimiter(limits.requests_per_minute, limits.tokens_per_minute, lessor=lessor, part=part)


async def _open_budget(prepared: Prepared, listing: Listing, share: Share | None) -> Budget:
    """The budget of a run, or of one share of it; its record counts what earlier attempts took."""
    if prepared.budget_usd is None:
        return Budget(None)
    records = SpendRecords(prepared.store)
    name = SPEND if share is None else share.spend

    def already_spent() -> Decimal:
        return records.settle(listing) if share is None else records.read(name)

    spent = await asyncio.to_thread(already_spent)

    async def record(amount: Decimal) -> None:
        await asyncio.to_thread(records.write, amount, name)

    return Budget(prepared.budget_usd, spent, record, prepared.binding_approval)
