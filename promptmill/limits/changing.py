"""Changes a rate limiter's limits while requests wait for them."""

from collections.abc import Mapping

from promptmill.limits.rate_limiter import RateLimiter


def change_rates(limiter: RateLimiter, rates: Mapping[str, float | None]) -> None:
    """Use these limits a minute from now on, by the names of the job's `limits`; None: use the learned limit."""
    paces = {
        "requests_per_minute": limiter.requests,
        "tokens_per_minute": limiter.tokens,
        "input_tokens_per_minute": limiter.split.input,
        "output_tokens_per_minute": limiter.split.output,
    }
    for name, rate in rates.items():
        paces[name].give(rate)
    limiter.wake()


def change_part(limiter: RateLimiter, part: float) -> None:
    """Use another part of limits that nobody leases, because some of the other processes have stopped sending."""
    for pace in (limiter.requests, limiter.tokens, limiter.split.input, limiter.split.output):
        pace.take_part(part)
    limiter.wake()


def hold_requests(limiter: RateLimiter, reason: str | None, now: float) -> None:
    """Hold back every request for this reason; None lets them go. `now` is the event loop's time, in seconds."""
    limiter.refusals.hold_back(reason, now)
    limiter.wake()
