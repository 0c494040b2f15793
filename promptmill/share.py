"""A part of a run, where several processes answer it together: shards of one dataset."""

import os
from dataclasses import dataclass
from decimal import Decimal, localcontext

from promptmill.job import Job

CENT_OF_A_CENT = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Share:
    """What one process takes on of a run: a range of its chunks, a part of its limits and of its money."""

    index: int  # 0 = first
    count: int  # of all shares of the run
    first: int  # chunk
    stop: int  # chunk after the last
    budget_usd: Decimal | None  # that this share may spend, all its attempts together
    spend: str  # name of the record of what it may have spent

    @property
    def part(self) -> float:
        """Of the limits a minute that nobody leases, which hold for all shares together."""
        return 1 / self.count


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
