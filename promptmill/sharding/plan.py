"""Shards of a run: how the run is split, what a shard is told and tells, and what to do when it ends. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Literal

from promptmill import errors
from promptmill.errors import Interrupted, PromptmillError, RunStopped
from promptmill.job.absolute import absolute_job
from promptmill.job.spec import Job
from promptmill.output.manifest import Manifest
from promptmill.planning.kept import Again, again_from
from promptmill.planning.plan import Chunk, Plan
from promptmill.records import Usage
from promptmill.runs.progress import Progress
from promptmill.runs.share import Share
from promptmill.stop import Stop

_CENT_OF_A_CENT = Decimal("0.000001")
_MOST_ATTEMPTS = 3  # at one shard, killed ones included
Ended = Literal["completed", "failed", "crashed", "cancelled"]


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """A run that was split; all its shards read the same plan."""

    job: Job  # output.url is rendered
    fingerprint: str  # of the input
    chunks: list[Chunk]
    repetitions: dict[int, int]
    bounds: list[tuple[int, int]]  # of each shard: first chunk, chunk after the last
    budgets_usd: list[Decimal | None]  # of each shard
    retry_before: float | None  # failures answered before are asked again; seconds since the epoch
    retry_all: bool = True  # of every kind

    @property
    def again(self) -> Again | None:
        """The failures of earlier runs that the shards ask for again."""
        return again_from(self.retry_before, self.retry_all)

    def is_of(self, job: Job, plan: Plan, again: Again | None) -> bool:
        """Whether this plan splits the same work, so that shards that began on it may go on."""
        keys = [chunk.key for chunk in self.chunks]
        return (self.job, keys, self.fingerprint) == (absolute_job(job), plan.keys, plan.fingerprint) and (
            (self.retry_before is None, self.retry_all) == (again is None, again is None or again.is_all)
        )

    def plan(self) -> Plan:
        """The plan of the whole run."""
        return Plan(
            chunks=self.chunks,
            rows=sum(chunk.rows for chunk in self.chunks),
            input_tokens=sum(chunk.input_tokens for chunk in self.chunks),
            unrendered=sum(chunk.unrendered for chunk in self.chunks),
            shared=sum(chunk.shared for chunk in self.chunks),
            repetitions=self.repetitions,
            fingerprint=self.fingerprint,
        )

    def label(self, shard: int) -> str:
        """A shard's rows, as people count them."""
        first, stop = self.bounds[shard]
        last = self.chunks[stop - 1]
        return f"{self.chunks[first].start + 1:,} to {last.start + last.rows:,}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt at a shard says it ended; a killed attempt says nothing."""

    manifest: Manifest | None  # how far it came
    error: PromptmillError | None


class ShardDied(RunStopped):
    """Every attempt at a shard was killed."""


def verdict(
    ended: Ended, outcome: Outcome | None, attempt: int, label: str
) -> Literal["done", "again"] | PromptmillError:
    """What to do about an attempt that has ended: nothing more, another attempt, or stop the whole run with this error.

    A shard that has spent its part of the budget is done: the run itself spends what other shards left over.
    """
    error = outcome.error if outcome is not None else None
    if isinstance(error, errors.StoppedByOrder):
        return error
    if ended == "completed" or isinstance(error, errors.BudgetExhausted):
        return "done"
    if ended == "cancelled":
        return Interrupted()
    if error is not None and not isinstance(error, Interrupted):
        return (
            error if isinstance(error, RunStopped) else RunStopped(str(error))
        )  # not a SetupError: other shards may have sent
    if attempt < _MOST_ATTEMPTS:
        return "again"
    return ShardDied(
        f"the shard of rows {label} died {attempt} times without a word; at most {_MOST_ATTEMPTS} attempts are made. See "
        "the logs of its runs and of their worker (memory?), then run the job again: what was answered is kept."
    )


@dataclass(frozen=True, slots=True)
class ShardSums:
    """What all attempts at the shards of a run did together."""

    requests_sent: int
    attempts: int
    answered: int  # rows
    retries: dict[str, int]  # attempts that another followed, by kind of failure
    limited_by: dict[str, float]  # limit → share of the time of all


def sum_shards(found: Sequence[Manifest]) -> ShardSums:
    """The sums; killed attempts are missing, so they are lower bounds."""
    return ShardSums(
        requests_sent=sum(manifest.requests_sent for manifest in found),
        attempts=sum(manifest.attempts for manifest in found),
        answered=sum(manifest.rows - manifest.reused - manifest.shared for manifest in found),
        retries=dict(sum((Counter(manifest.retries_by_kind) for manifest in found), Counter[str]())),
        limited_by=_limits_of(found),
    )


def _limits_of(found: Sequence[Manifest]) -> dict[str, float]:
    """The share of the time of all shards in which each limit held them up, the most first."""
    seconds: Counter[str] = Counter()
    for manifest in found:
        for limit, share in manifest.limited_by.items():
            seconds[limit] += share * manifest.seconds  # pyright: ignore[reportArgumentType] - a Counter adds up floats as well
    whole = sum(manifest.seconds for manifest in found)
    return {limit: round(held / whole, 3) for limit, held in seconds.most_common() if held > 0}


def sum_progress(found: Sequence[Manifest], rows: int) -> Progress:
    """How far a run of `rows` rows came, by the latest manifest of each of its shards."""
    progress = Progress(rows, 1.0, Stop())
    for manifest in found:
        progress.done += manifest.rows
        progress.failed += manifest.failed
        progress.reused += manifest.reused
        progress.shared += manifest.shared
        progress.spent_usd += manifest.cost_usd
        progress.usage += Usage(manifest.input_tokens, manifest.cached_input_tokens, manifest.output_tokens)
        progress.kinds += Counter(manifest.failures_by_kind)
    return progress


def split_evenly(weights: list[int], count: int) -> list[tuple[int, int]]:
    """At most `count` contiguous ranges [first, stop) of about equal weight that cover everything; each has some weight.

    If all weights are 0, one range.
    """
    heavy = [index for index, weight in enumerate(weights) if weight > 0]
    count = max(1, min(count, len(heavy)))
    total, reached, starts = sum(weights), 0, [0]
    for position, index in enumerate(heavy):
        is_due = reached * count >= total * len(starts)
        is_last_chance = len(heavy) - position <= count - len(starts)
        if position and len(starts) < count and (is_due or is_last_chance):
            starts.append(index)
        reached += weights[index]
    return list(zip(starts, [*starts[1:], len(weights)], strict=True))


def split_money(amount_usd: Decimal, weights: list[int]) -> list[Decimal]:
    """The amount in parts by weight, rounded down: together they never pass it."""
    total = max(1, sum(weights))
    with localcontext() as context:
        context.rounding = "ROUND_FLOOR"
        return [(amount_usd * weight / total).quantize(_CENT_OF_A_CENT) for weight in weights]


def share_job(job: Job, share: Share) -> Job:
    """The job as one share carries it out.

    The limits a minute stay whole, so that the share may send a request that they allow; the limiter keeps to its part.
    """
    concurrency = job.limits.max_concurrency
    if concurrency != "auto":  # each share finds its own (limits/places.py)
        concurrency = max(1, concurrency // share.count)
    limits = job.limits.model_copy(update={"max_concurrency": concurrency})
    return job.model_copy(update={"limits": limits, "budget_usd": share.budget_usd})
