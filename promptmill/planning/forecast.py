"""What a sample says of the whole run: its figures with intervals. Pure.

The input's tokens are counted for every row, so only what the provider counts otherwise is taken from the sample. Answers are
what nobody knows beforehand: the interval of the whole rests on how much the sample's answers differ.
"""

from collections.abc import Callable
from decimal import Decimal

import numpy as np
import pyarrow as pa

from promptmill.arrow import pc
from promptmill.job.spec import Job
from promptmill.limits.pricing import requested_tier
from promptmill.output.forecast import Forecast, Interval, Measured
from promptmill.output.manifest import Manifest
from promptmill.planning.intervals import mean_interval, of_the_whole, share_interval
from promptmill.planning.plan import Plan
from promptmill.planning.prepared_job import Prepared


def measure(answers: pa.Table, planned_input_tokens: int, max_output_tokens: int | None) -> Measured | None:
    """What a sample's rows took, from its kept answers; None where none was asked. Rows that share an answer count once."""
    is_asked = pc.and_(pc.is_null(answers["answered_by"]), pc.greater(answers["attempts"], 0))
    asked = answers.filter(is_asked)
    tokens = mean_interval(np.asarray(asked["output_tokens"], np.float64), max_output_tokens)
    if tokens is None:
        return None
    seconds = mean_interval(np.asarray(asked["latency_seconds"].drop_null(), np.float64))
    return Measured(asked.num_rows, planned_input_tokens, tokens, seconds)


def forecast_run(prepared: Prepared, plan: Plan, sample: Manifest) -> Forecast | None:
    """The whole run by a sample of the same job; None where the sample asked nothing."""
    measured = sample.measured
    if measured is None:
        return None
    prices, rows = prepared.prices, plan.to_send
    tier = requested_tier(prepared.job.request.sent_parameters)
    counted = sample.input_tokens / measured.planned_input_tokens if measured.planned_input_tokens else 1.0
    tokens_in = (plan.input_tokens - plan.cached_tokens) * counted
    tokens_out = of_the_whole(measured.output_tokens, measured.rows, rows).times(rows)
    at_list_price = prices.tokens_usd(sample.input_tokens, sample.output_tokens, tier)
    discount = float(sample.cost_usd / at_list_price) if at_list_price else 1.0  # of cached prompts and the like

    def cost(tier: str | None) -> Callable[[float], float]:
        return lambda out: discount * float(prices.tokens_usd(round(tokens_in), round(out), tier))

    return Forecast(
        sample_rows=measured.rows,
        sampled_at=sample.finished_at,
        input_tokens=tokens_in,
        cost_usd=_each(tokens_out, cost(tier)),
        batch_usd=_each(tokens_out, cost("batch")),
        output_tokens=tokens_out,
        failures=share_interval(sample.failed, sample.rows, plan.rows),
        minutes=_minutes(prepared.job, rows, tokens_in, tokens_out),
    )


def minutes_at_limits(job: Job, requests: int, input_tokens: float, output_tokens: float) -> float | None:
    """The minutes that a run takes at the job's limits, if nothing else slows it; None if the job sets no limit."""
    limits = job.limits
    times = [
        amount / limit
        for amount, limit in (
            (requests, limits.requests_per_minute),
            (input_tokens + output_tokens, limits.tokens_per_minute),
            (input_tokens, limits.input_tokens_per_minute),
            (output_tokens, limits.output_tokens_per_minute),
        )
        if limit is not None
    ]
    return max(times) if times else None


def dollars(amount: float) -> Decimal:
    """An amount of an interval as money."""
    return Decimal(f"{amount:.10f}")


def _each(interval: Interval, of: Callable[[float], float]) -> Interval:
    return Interval(of(interval.low), of(interval.mean), of(interval.high))


def _minutes(job: Job, rows: int, tokens_in: float, tokens_out: Interval) -> Interval | None:
    found = [minutes_at_limits(job, rows, tokens_in, out) for out in (tokens_out.low, tokens_out.mean, tokens_out.high)]
    low, mean, high = found
    return None if low is None or mean is None or high is None else Interval(low, mean, high)
