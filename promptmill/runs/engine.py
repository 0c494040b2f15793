"""All that the chunks of one run share: job, plan, client, store, progress."""

import asyncio
import logging
import platform
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pyarrow as pa

from promptmill.arrow import pc
from promptmill.checkpoints.output_lease import OutputLease
from promptmill.checkpoints.saver import Room, most_unsaved
from promptmill.checkpoints.set_aside import SetAside
from promptmill.checkpoints.store import BATCH_ROWS, CACHE_ROWS, Store
from promptmill.dataset.dataset import Dataset
from promptmill.errors import RunStopped, SetupError
from promptmill.job.spec import Job, Limits
from promptmill.limits.budget import Budget
from promptmill.limits.exposure import Exposure
from promptmill.limits.leased_bucket import Lessor
from promptmill.limits.places import MOST_PLACES, Places, make_places
from promptmill.limits.pricing import requested_tier
from promptmill.limits.rate_limiter import RateLimiter
from promptmill.limits.split_tokens import SplitTokens
from promptmill.memory import FreeMemory
from promptmill.planning.growth import Growth
from promptmill.planning.kept import Again, Kept, find_kept
from promptmill.planning.plan import Chunk, Plan
from promptmill.planning.prepared_job import Prepared
from promptmill.prompts.request_builder import RequestBuilder
from promptmill.provider.billing import Billing
from promptmill.provider.client import Client
from promptmill.provider.evidence import MOST_UNPROVEN, Evidence
from promptmill.provider.formats import MOST_OUT, Formats
from promptmill.provider.key_renewal import RenewKeys, renew_in_time
from promptmill.provider.tiers import Tiers
from promptmill.provider.transport import Credentials, Transport
from promptmill.runs.admission import Admission
from promptmill.runs.beside import going_on
from promptmill.runs.elsewhere import NOTHING_ELSEWHERE, Elsewhere
from promptmill.runs.judging import Validate
from promptmill.runs.limit_watch import LimitWatch
from promptmill.runs.money import close_budget, most_input_factor, open_budget
from promptmill.runs.online_pace import tiers_in_time
from promptmill.runs.progress import Progress
from promptmill.runs.save_gate import SaveGate
from promptmill.runs.share import Share
from promptmill.steering.orders import NOT_STEERED, Steering
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
    places: Places  # for requests in flight
    stop: Stop
    store: Store
    kept: Kept  # the answers that there were when the run began
    progress: Progress
    elsewhere: Elsewhere = NOTHING_ELSEWHERE  # what others did of the run before
    steering: Steering = NOT_STEERED  # what people told the run since it began
    may_send: bool = True  # False: every row is answered already, by batches
    growth: Growth | None = None  # what is left to plan
    limit_watch: LimitWatch = field(init=False)
    admission: Admission = field(init=False)
    room: Room = field(init=False)  # for answers that aren't saved yet
    saving: SaveGate = field(default_factory=SaveGate)
    free: FreeMemory = field(default_factory=FreeMemory)
    unsaved: dict[str, list[pa.Table]] = field(default_factory=dict[str, list[pa.Table]])  # by chunk: never asked again

    def __post_init__(self) -> None:
        self.limit_watch = LimitWatch(self.client, self.places)
        self.admission = Admission(self.job.chunks_in_flight)
        self.room = Room(most_unsaved(self.job, None if self.growth else len(self.chunks)))

    @property
    def exposure(self) -> Exposure:
        """What a kill would lose of this process's money."""
        return self.client.budget.exposure

    def replaced_by(self, chunk: Chunk, saved: Sequence[str]) -> list[str]:
        """The files that a finished chunk's answers replace."""
        return [*saved, *self.kept.listing.unfinished.get(chunk.key, [])]

    def drop_collected(self) -> None:
        """Remove the answer files that batches brought: finished chunks hold their answers now. Blocks."""
        self.store.storage.delete(self.kept.index.used_up(BATCH_ROWS))

    def drop_cached(self) -> None:
        """Remove the answer files that were filled from a cache; call it after publishing. Blocks."""
        self.store.storage.delete(name for name in self.kept.listing.sizes if name.startswith(CACHE_ROWS))

    def tell_of_unsaved(self, error: RunStopped) -> None:
        """Add to an error how many answers only this machine's disk holds. Blocks."""
        aside = SetAside(self.store)
        if self.unsaved and (rows := aside.rows()):
            error.add(
                f"{rows:,} answers are paid for and not stored yet; {aside.folder} on {platform.node()} holds them. Run the "
                "same command there: it stores them first, and buys none of them again."
            )

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
    growth: Growth | None = None,
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
    part = 1.0 if share is None else share.part
    limiter = _limiter(job.limits, lessor, part)
    chunks = plan.chunks if share is None else plan.chunks[share.first : share.stop]
    kept = await asyncio.to_thread(find_kept, store, plan, again, None if share is None else chunks)
    budget = await open_budget(prepared, kept.listing, share)
    stop = Stop(None if lease is None else lease.confirm)
    progress = Progress(sum(chunk.rows for chunk in chunks), job.max_failure_ratio, stop)
    progress.sharing = sum(chunk.shared for chunk in chunks)
    places, request = make_places(job.limits.max_concurrency, part), job.request
    async with Transport(
        credentials, request.endpoint, MOST_PLACES, job.attempt_seconds, request.sent_model
    ) as transport:
        renew = _renewing(transport, credentials, look_up_credentials)
        tiers = tiers_in_time(job, elsewhere.deadline, progress)
        client = _client(prepared, transport, limiter, budget, stop, progress, renew, places, tiers)
        engine = Engine(
            job=job,
            plan=plan,
            chunks=chunks,
            dataset=prepared.dataset,
            builder=prepared.builder,
            validate=None if prepared.schema is None else prepared.schema.validate,
            client=client,
            places=places,
            stop=stop,
            store=store,
            kept=kept,
            progress=progress,
            elsewhere=elsewhere,
            may_send=may_send,
            growth=growth,
        )
        try:
            async with going_on(renew_in_time(renew, lambda: transport.expires_at), engine.limit_watch.watch()):
                yield engine
        finally:
            await limiter.close()
            await close_budget(budget)


def _client(
    prepared: Prepared,
    transport: Transport,
    limiter: RateLimiter,
    budget: Budget,
    stop: Stop,
    progress: Progress,
    renew_key: RenewKeys,
    places: Places,
    tiers: Tiers | None,
) -> Client:
    job, modes = prepared.job, prepared.builder.structured
    formats = None if modes is None else Formats(modes.modes, modes.write, modes.tokens)
    most_out = MOST_OUT if formats is not None and formats.is_learning else MOST_UNPROVEN
    return Client(
        sender=transport,
        endpoint=job.request.endpoint,
        limiter=limiter,
        budget=budget,
        billing=Billing(
            prepared.prices,
            requested_tier(job.request.sent_parameters),
            prepared.counter.count,
            most_input_factor=most_input_factor(prepared),
        ),
        retry=job.retry,
        stop=stop,
        secrets=transport.secrets,
        evidence=Evidence(lambda: progress.done > progress.failed, most_out),
        formats=formats,
        tiers=tiers,
        renew_key=renew_key,
        places=places,
    )


def _renewing(transport: Transport, credentials: Credentials, look_up: LookUpCredentials | None) -> RenewKeys:
    """Looks the key up once more: in its block, or where the environment has it."""

    async def renew() -> bool:
        return await transport.renew(credentials if look_up is None else await look_up())

    return renew


def _limiter(limits: Limits, lessor: Lessor | None, part: float) -> RateLimiter:
    if limits.shared is not None and lessor is None:
        raise SetupError(
            f"limits.shared is {limits.shared!r}, a limit that is leased from a Prefect server; this run has none and "
            "would send on top of everybody else's. Run the job by `promptmill run` or `promptmill sample`, or leave "
            "limits.shared out and give this process its own part as limits.requests_per_minute and "
            "limits.tokens_per_minute."
        )
    split = SplitTokens(limits.input_tokens_per_minute, limits.output_tokens_per_minute, part)
    return RateLimiter(limits.requests_per_minute, limits.tokens_per_minute, lessor=lessor, part=part, split=split)
