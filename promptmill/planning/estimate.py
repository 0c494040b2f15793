"""What a run will cost and how long it will take: input tokens are counted, output tokens are assumed."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from promptmill.limits.output_guess import UNKNOWN_OUTPUT_TOKENS
from promptmill.limits.pricing import requested_tier
from promptmill.number_words import usd
from promptmill.output.forecast import LEVEL, Forecast
from promptmill.output.manifest import Manifest
from promptmill.planning.forecast import dollars, forecast_run, minutes_at_limits
from promptmill.planning.plan import Plan
from promptmill.planning.prepared_job import Prepared


@dataclass(frozen=True, slots=True)
class Estimate:
    """A run's expected size and price."""

    rows: int  # that a run would ask for: those that can be rendered, of equal requests one, and none that a cache answers
    input_tokens: int
    output_tokens: int
    output_tokens_source: str  # what the assumption rests on
    counting: str  # how the input's tokens were counted
    is_exact: bool  # whether `input_tokens` is exact
    online_usd: Decimal
    batch_usd: Decimal
    minutes: float | None  # at the job's limits; None if it sets none
    prices: str  # where the prices come from
    forecast: Forecast | None = None  # by the last sample, with intervals

    def usd(self, mode: str) -> Decimal:
        """The price of one mode, online or batch."""
        return self.batch_usd if mode == "batch" else self.online_usd


def estimate_run(prepared: Prepared, plan: Plan, sample: Manifest | None = None) -> Estimate:
    """The estimate of a plan, by a sample of the same job if there is one."""
    rows, input_tokens = plan.to_send, plan.input_tokens - plan.cached_tokens
    forecast = None if sample is None else forecast_run(prepared, plan, sample)
    per_row, source = _assume_output(prepared, sample)
    output_tokens = round(per_row * rows) if forecast is None else round(forecast.output_tokens.mean)
    prices = prepared.prices
    tier = requested_tier(prepared.job.request.sent_parameters)
    return Estimate(
        rows,
        input_tokens,
        output_tokens,
        source,
        prepared.counter.label,
        prepared.counter.is_exact,
        prices.tokens_usd(input_tokens, output_tokens, tier) if forecast is None else dollars(forecast.cost_usd.mean),
        prices.tokens_usd(input_tokens, output_tokens, "batch")
        if forecast is None
        else dollars(forecast.batch_usd.mean),
        minutes_at_limits(prepared.job, rows, input_tokens, output_tokens),
        prices.label,
        forecast,
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
    likely = estimate.forecast
    between = "" if likely is None else f" ({LEVEL}: {usd(likely.cost_usd.low)} to {usd(likely.cost_usd.high)})"
    return (
        f"{estimate.input_tokens:,} tokens in ({estimate.counting}), "
        f"{estimate.output_tokens:,} out ({estimate.output_tokens_source}): "
        f"${estimate.online_usd:,.4f} online{between}, ${estimate.batch_usd:,.4f} by batch{minutes}"
    )


def describe_plan(plan: Plan, estimate: Estimate) -> str:
    """A plan with its estimate in one line."""
    told = describe_estimate(estimate)
    if plan.is_whole:
        return f"{plan.rows} rows in {len(plan.chunks)} chunks; {told}"
    return f"{plan.expected_rows} rows, {plan.rows} of them planned so far; going by these, {told}"


def describe_forecast(forecast: Forecast) -> str:
    """Between what a run's figures lie, in one line."""
    cost, batch, tokens, failures = forecast.cost_usd, forecast.batch_usd, forecast.output_tokens, forecast.failures
    time = forecast.minutes
    minutes = "" if time is None else f", {time.low:,.1f} to {time.high:,.1f} minutes at the limits"
    return (
        f"in {LEVEL} of cases {usd(cost.low)} to {usd(cost.high)} online ({usd(batch.low)} to {usd(batch.high)} by batch), "
        f"{tokens.low:,.0f} to {tokens.high:,.0f} tokens out, {failures.low:,.0f} to {failures.high:,.0f} failures{minutes}"
    )


def age_of(forecast: Forecast) -> str:
    """How long ago the sample was run, in words."""
    seconds = max(0.0, (datetime.now(UTC) - forecast.sampled_at).total_seconds())
    for name, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {name}"
    return f"{seconds:,.0f} seconds"


def _assume_output(prepared: Prepared, sample: Manifest | None) -> tuple[float, str]:
    if prepared.job.request.endpoint == "embeddings":
        return 0.0, "embeddings have none"
    if sample is not None and sample.succeeded:
        return sample.output_tokens / sample.succeeded, "measured by the last sample"
    if (limit := prepared.builder.max_output_tokens) is not None:
        return float(limit), "the job's own limit for each answer, so at most"
    return float(UNKNOWN_OUTPUT_TOKENS), "assumed: the job sets no limit; `promptmill sample` measures it"
