"""Limits that are changed while requests wait for them."""

from collections.abc import Mapping

from promptmill.limits.rate_limiter import RateLimiter


def change_rates(limiter: RateLimiter, rates: Mapping[str, float | None]) -> None:
    """Keep to these limits a minute from now on, by the names of the job's `limits`; None: to what is learned."""
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
    """Keep to another part of limits that nobody leases: of those who had the others, some send no more."""
    for pace in (limiter.requests, limiter.tokens, limiter.split.input, limiter.split.output):
        pace.take_part(part)
    limiter.wake()


def hold_requests(limiter: RateLimiter, reason: str | None, now: float) -> None:
    """Let no request be sent for this reason, or all again with None; `now` is of the event loop's clock."""
    limiter.refusals.hold_back(reason, now)
    limiter.wake()
