"""What a run will cost and how long it will take: input tokens are counted, output tokens are assumed."""

from dataclasses import dataclass
from decimal import Decimal

from promptmill.job.spec import Job
from promptmill.limits.output_guess import UNKNOWN_OUTPUT_TOKENS
from promptmill.limits.pricing import requested_tier
from promptmill.planning.plan import Plan
from promptmill.planning.prepared_job import Prepared


@dataclass(frozen=True, slots=True)
class Estimate:
    """A run's expected size and price."""

    rows: int  # that a run would send: those without a template error
    input_tokens: int
    output_tokens: int
    output_tokens_source: str  # what the assumption rests on
    counting: str  # how the input's tokens were counted
    is_exact: bool  # whether `input_tokens` is exact
    online_usd: Decimal
    batch_usd: Decimal
    minutes: float | None  # at the job's limits; None if it sets none
    prices: str  # where the prices come from

    def usd(self, mode: str) -> Decimal:
        """The price of one mode, online or batch."""
        return self.batch_usd if mode == "batch" else self.online_usd


def estimate_run(prepared: Prepared, plan: Plan, measured_output_tokens: float | None = None) -> Estimate:
    """The estimate of a plan. `measured_output_tokens`: a row's mean, if a sample measured it."""
    rows = plan.rows - plan.unrendered
    per_row, source = _assume_output(prepared, measured_output_tokens)
    output_tokens = round(per_row * rows)
    prices = prepared.prices
    return Estimate(
        rows,
        plan.input_tokens,
        output_tokens,
        source,
        prepared.counter.label,
        prepared.counter.is_exact,
        prices.tokens_usd(plan.input_tokens, output_tokens, requested_tier(prepared.job.request.sent_parameters)),
        prices.tokens_usd(plan.input_tokens, output_tokens, "batch"),
        minutes_at_limits(prepared.job, rows, plan.input_tokens + output_tokens),
        prices.label,
    )


_BATCH_HOURS = 24.0  # the Batch API promises its answers within this time


def cheaper_mode(estimate: Estimate, within_hours: float) -> str | None:
    """The cheaper of the modes that finish in time: batch, online, or None if neither does."""
    if within_hours >= _BATCH_HOURS and estimate.batch_usd <= estimate.online_usd:
        return "batch"
    return "online" if estimate.minutes is None or estimate.minutes <= within_hours * 60 else None


def describe_estimate(estimate: Estimate) -> str:
    """An estimate in one line."""
    minutes = "" if estimate.minutes is None else f", {estimate.minutes:,.1f} minutes at the limits"
    return (
        f"{estimate.input_tokens:,} tokens in ({estimate.counting}), "
        f"{estimate.output_tokens:,} out ({estimate.output_tokens_source}): "
        f"${estimate.online_usd:,.4f} online, ${estimate.batch_usd:,.4f} by batch{minutes}"
    )


def minutes_at_limits(job: Job, requests: int, tokens: int) -> float | None:
    """The minutes that a run takes at the job's limits, if nothing else slows it; None if the job sets no limit."""
    limits = job.limits
    times = [
        amount / limit
        for amount, limit in ((requests, limits.requests_per_minute), (tokens, limits.tokens_per_minute))
        if limit is not None
    ]
    return max(times) if times else None


def _assume_output(prepared: Prepared, measured: float | None) -> tuple[float, str]:
    if prepared.job.request.endpoint == "embeddings":
        return 0.0, "embeddings have none"
    if measured is not None:
        return measured, "measured by the last sample"
    if (limit := prepared.builder.max_output_tokens) is not None:
        return float(limit), "the job's own limit for each answer, so at most"
    return float(UNKNOWN_OUTPUT_TOKENS), "assumed: the job sets no limit; `promptmill sample` measures it"
