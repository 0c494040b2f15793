"""A run beside its estimate: what was inside the intervals, and why the cost differs. Pure."""

from promptmill.limits.pricing import requested_tier
from promptmill.output.forecast import Forecast, Interval, Score, Scorecard, reasons_for
from promptmill.output.manifest import Manifest
from promptmill.planning.prepared_job import Prepared
from promptmill.runs.totals import RunFacts


def score_run(prepared: Prepared, facts: RunFacts, manifest: Manifest) -> Scorecard | None:
    """The scorecard of a run that has answered every row; None where no sample told intervals before it."""
    forecast = facts.estimate.forecast
    if forecast is None:
        return None
    is_batch = facts.mode == "batch" or (facts.deadline is not None and len(facts.batches) > 0)
    cost = forecast.batch_usd if is_batch else forecast.cost_usd
    if facts.deadline is not None:  # some rows by batch and some online, however many
        cost = Interval(min(cost.low, forecast.batch_usd.low), cost.mean, max(cost.high, forecast.cost_usd.high))
    tier = "batch" if is_batch else requested_tier(prepared.job.request.sent_parameters)
    return Scorecard(
        forecast.sample_rows,
        (
            Score("cost, US dollars", cost, float(manifest.cost_usd)),
            Score("output tokens", forecast.output_tokens, manifest.output_tokens),
            Score("failures", forecast.failures, manifest.failed),
        ),
        _reasons(prepared, forecast, manifest, cost, tier),
    )


def _reasons(
    prepared: Prepared, forecast: Forecast, manifest: Manifest, cost: Interval, tier: str | None
) -> tuple[str, ...]:
    """What inputs, answers and discounts add to the cost that was expected."""

    def usd(tokens_in: int, tokens_out: int) -> float:
        return float(prepared.prices.tokens_usd(tokens_in, tokens_out, tier))

    tokens_in, tokens_out = round(forecast.input_tokens), round(forecast.output_tokens.mean)
    expected = usd(tokens_in, tokens_out)
    discount = cost.mean / expected if expected else 1.0
    inputs = usd(manifest.input_tokens, tokens_out) - expected
    answers = usd(tokens_in, manifest.output_tokens) - expected
    rest = float(manifest.cost_usd) - cost.mean - discount * (inputs + answers)
    again = f", with {manifest.attempts:,} attempts for {manifest.requests_sent:,} requests"
    tries = again if manifest.attempts > manifest.requests_sent else ""
    cached = f", {manifest.cached_input_tokens:,} input tokens cached" if manifest.cached_input_tokens else ""
    return reasons_for(
        [
            (f"longer inputs than planned{tries}", "shorter inputs than planned", discount * inputs),
            (f"longer answers than the sample's{tries}", "shorter answers than the sample's", discount * answers),
            ("dearer tokens than the sample's", f"cheaper tokens than the sample's{cached}", rest),
        ],
        cost.mean,
    )
