"""Shards of a run: what they are told, what they tell, and what follows from it. Pure."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Literal

from promptmill import errors
from promptmill.errors import Interrupted, PromptmillError, RunStopped
from promptmill.job.spec import Job
from promptmill.output.manifest import Manifest
from promptmill.planning.plan import Chunk, Plan
from promptmill.records import Usage
from promptmill.run.progress import Progress
from promptmill.run.share import Share
from promptmill.stop import Stop

MOST_ATTEMPTS = 3  # at one shard, deaths included
Ended = Literal["completed", "failed", "crashed", "cancelled"]


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """A run that was split; equal for all its shards."""

    job: Job  # output.url is no template any more
    fingerprint: str  # of the input
    chunks: list[Chunk]
    repetitions: dict[int, int]
    bounds: list[tuple[int, int]]  # of each shard: first chunk, chunk after the last
    budgets_usd: list[Decimal | None]  # of each shard
    retry_before: float | None  # seconds since the epoch

    def is_of(self, job: Job, plan: Plan, retry_before: float | None) -> bool:
        """Whether it splits the same work: what was begun on it may go on."""
        keys = [chunk.key for chunk in self.chunks]
        return (self.job, keys, self.fingerprint) == (absolute_job(job), plan.keys, plan.fingerprint) and (
            (self.retry_before is None) == (retry_before is None)
        )

    def plan(self) -> Plan:
        """The whole plan, as those who answer need it."""
        return Plan(
            chunks=self.chunks,
            rows=sum(chunk.rows for chunk in self.chunks),
            input_tokens=sum(chunk.input_tokens for chunk in self.chunks),
            unrendered=sum(chunk.unrendered for chunk in self.chunks),
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
    """How an attempt at a shard ended in order; one that was killed leaves none."""

    manifest: Manifest | None  # how far it came
    error: PromptmillError | None


class ShardDied(RunStopped):
    """A shard was killed as often as it was tried."""


def verdict(
    ended: Ended, outcome: Outcome | None, attempt: int, label: str
) -> Literal["done", "again"] | PromptmillError:
    """What is to be done about an attempt that has ended: nothing more, another one, or to stop the whole run.

    A shard that has spent its part of the budget is done: what the others left over is spent by the run itself.
    """
    error = outcome.error if outcome is not None else None
    if ended == "completed" or isinstance(error, errors.BudgetExhausted):
        return "done"
    if ended == "cancelled":
        return Interrupted()
    if error is not None and not isinstance(error, Interrupted):
        return error if isinstance(error, RunStopped) else RunStopped(str(error))  # other shards may have sent
    if attempt < MOST_ATTEMPTS:
        return "again"
    return ShardDied(
        f"the shard of rows {label} died {attempt} times without a word; at most {MOST_ATTEMPTS} attempts are made. See "
        "the logs of its runs and of their worker (memory?), then run the job again: what was answered is kept."
    )


@dataclass(frozen=True, slots=True)
class ShardSums:
    """What all attempts at the shards of a run did together."""

    requests_sent: int
    attempts: int
    answered: int  # rows


def sum_shards(found: Sequence[Manifest]) -> ShardSums:
    """Attempts that were killed aren't among them, so that these are lower bounds."""
    return ShardSums(
        sum(one.requests_sent for one in found),
        sum(one.attempts for one in found),
        sum(one.rows - one.reused for one in found),
    )


def sum_progress(found: Sequence[Manifest], rows: int) -> Progress:
    """How far a run of so many rows came, by the last that was heard of each of its shards."""
    progress = Progress(rows, 1.0, Stop())
    for one in found:
        progress.done += one.rows
        progress.failed += one.failed
        progress.reused += one.reused
        progress.spent_usd += one.cost_usd
        progress.usage += Usage(one.input_tokens, one.cached_input_tokens, one.output_tokens)
        progress.kinds += Counter(one.failures_by_kind)
    return progress


CENT_OF_A_CENT = Decimal("0.000001")


def split_evenly(weights: list[int], count: int) -> list[tuple[int, int]]:
    """At most so many contiguous ranges [first, stop) of about equal weight, each with some, that cover everything.

    One range where all weights are 0.
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
    """The amount in parts by weight, rounded down so that together they never pass it."""
    total = max(1, sum(weights))
    with localcontext() as context:
        context.rounding = "ROUND_FLOOR"
        return [(amount_usd * weight / total).quantize(CENT_OF_A_CENT) for weight in weights]


def absolute_job(job: Job) -> Job:
    """The job with whole paths, for processes that were started in other folders."""
    schema = job.request.response_schema
    if isinstance(schema, str) and os.path.exists(schema):
        schema = os.path.abspath(schema)
    return job.model_copy(
        update={
            "input": job.input.model_copy(update={"url": _absolute(job.input.url)}),
            "output": job.output.model_copy(update={"url": _absolute(job.output.url)}),
            "request": job.request.model_copy(update={"response_schema": schema}),
        }
    )


def _absolute(url: str) -> str:
    return url if "://" in url or "::" in url else os.path.abspath(url)


def share_job(job: Job, share: Share) -> Job:
    """The job as one share carries it out.

    Its limits a minute stay whole, though the share keeps to its part of them: a request that they allow is sent.
    """
    concurrency = max(1, job.limits.max_concurrency // share.count)
    limits = job.limits.model_copy(update={"max_concurrency": concurrency})
    return job.model_copy(update={"limits": limits, "budget_usd": share.budget_usd})
