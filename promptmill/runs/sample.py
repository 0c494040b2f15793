"""A few rows tried for real, and what they say of the whole."""

from dataclasses import dataclass
from decimal import Decimal

from promptmill.job.spec import Job
from promptmill.output.manifest import Manifest
from promptmill.planning.estimate import minutes_at_limits
from promptmill.runs.run import PendingRun


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """What the whole run would take, going by a sample."""

    rows: int
    usd: Decimal
    batch_usd: Decimal
    output_tokens: int
    failed: int
    minutes: float | None  # None where neither limits nor a fresh answer tell


def sample_job_of(job: Job, rows: int) -> Job:
    """The same job over its first rows only; its answers are kept for the whole run."""
    limit = min(rows, job.input.limit or rows)
    return job.model_copy(update={"input": job.input.model_copy(update={"limit": limit})})


def extrapolate(whole: PendingRun, sample: Manifest) -> Extrapolation:
    """The whole run by a sample's figures, in proportion to the rows."""
    plan, prices = whole.preflight.plan, whole.prepared.prices
    share = Decimal(plan.rows) / max(1, sample.rows)
    input_tokens, output_tokens = round(sample.input_tokens * share), round(sample.output_tokens * share)
    return Extrapolation(
        plan.rows,
        sample.cost_usd * share,
        prices.tokens_usd(input_tokens, output_tokens, "batch"),
        output_tokens,
        round(sample.failed * share),
        _minutes(whole, sample),
    )


def _minutes(whole: PendingRun, sample: Manifest) -> float | None:
    """Minutes for the whole: as long as the limits take, or the sample's latency with all slots busy."""
    plan, job = whole.preflight.plan, whole.prepared.job
    tokens = round((sample.input_tokens + sample.output_tokens) * plan.rows / max(1, sample.rows))
    limited = minutes_at_limits(job, plan.rows, tokens)
    if not sample.requests_sent:
        return limited
    at_once = min(job.limits.max_concurrency, max(1, sample.requests_sent))
    free = sample.seconds * plan.rows / sample.requests_sent * at_once / job.limits.max_concurrency / 60
    return max(free, limited or 0.0)
