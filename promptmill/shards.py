"""Shards of a run: what they are told, what they tell, and what follows from it. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from promptmill import errors
from promptmill.errors import Interrupted, PromptmillError, RunStopped
from promptmill.job import Job
from promptmill.manifest import Manifest
from promptmill.plan import Chunk, Plan
from promptmill.progress import Progress
from promptmill.records import Usage
from promptmill.share import absolute_job
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
