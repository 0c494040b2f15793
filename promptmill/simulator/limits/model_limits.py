"""Limits requests and tokens per minute of one model, and makes the headers.

The provider documents no reading of "per minute", so there are two: a bucket that refills continuously (as its headers
suggest), and a sliding window that never holds more than the limit (the strictest reading). A client that keeps the second
keeps both. The clock is an argument everywhere.

Header names, Go durations and the wording of 429s: OpenAI's rate-limit guide, read 2026-11-24.
"""

from typing import Literal

from promptmill.simulator.errors import LIMITS_PAGE, ApiError, Headers, rate_limited
from promptmill.simulator.limits.meters import Bucket, Meter, SlidingWindow
from promptmill.simulator.options import SimulatorOptions

_Kind = Literal["requests", "tokens"]
_UNITS: dict[_Kind, str] = {"requests": "requests per min (RPM)", "tokens": "tokens per min (TPM)"}


class ModelLimits:
    """The two limits of one model, taken together or not at all."""

    def __init__(self, options: SimulatorOptions, now: float) -> None:
        self.requests = _meter(options, options.requests_per_minute, options.burst_requests, now)
        self.tokens = _meter(options, options.tokens_per_minute, options.burst_tokens, now)

    def admit(self, now: float, model: str, tokens: int, options: SimulatorOptions) -> None:
        """Take one request and its tokens.

        Raises: ApiError 429; then it takes no tokens, and takes the request only if failed requests count.
        """
        wanted: tuple[tuple[_Kind, Meter | None, int], ...] = (
            ("requests", self.requests, 1),
            ("tokens", self.tokens, tokens),
        )
        for kind, meter, amount in wanted:
            if meter is not None and meter.wait_seconds(now, amount) > 0:
                error = _refusal(kind, meter, amount, now, f"{model} in organization {options.organization}")
                self.count_failure(now, options)
                raise error
        for _, meter, amount in wanted:
            if meter is not None:
                meter.take(now, amount)

    def count_failure(self, now: float, options: SimulatorOptions) -> None:
        """Take one request for a refused one, if failures count."""
        if self.requests is not None and options.failed_requests_count:
            self.requests.take(now, 1)

    def return_request(self, now: float) -> None:
        """Undo the request of an admission."""
        if self.requests is not None:
            self.requests.give_back(now, 1)

    def headers(self, now: float) -> Headers:
        """The x-ratelimit-* headers of the limits that are set."""
        rows: Headers = []
        for kind, meter in ((b"requests", self.requests), (b"tokens", self.tokens)):
            if meter is not None:
                rows.append((b"x-ratelimit-limit-" + kind, b"%d" % meter.limit))
                rows.append((b"x-ratelimit-remaining-" + kind, b"%d" % meter.remaining(now)))
                rows.append((b"x-ratelimit-reset-" + kind, format_duration(meter.reset_seconds(now)).encode()))
        return rows


def format_duration(seconds: float) -> str:
    """A duration as Go prints it, to the millisecond: `120ms`, `7.66s`, `6m0s`, `14h29m11.04s`."""
    milliseconds = max(0, round(seconds * 1000))
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{milliseconds / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def _meter(options: SimulatorOptions, limit: int | None, burst: int | None, now: float) -> Meter | None:
    if limit is None:
        return None
    if options.window == "sliding":
        return SlidingWindow(limit, options.window_seconds)
    capacity = limit if burst is None else burst
    return Bucket(limit, capacity, options.window_seconds, level=capacity, updated=now)


def _refusal(kind: _Kind, meter: Meter, amount: int, now: float, whom: str) -> ApiError:
    if amount > meter.capacity:
        message = (
            f"Request too large for {whom} on {_UNITS[kind]}: Limit {meter.capacity}, Requested {amount}. The input or "
            f"output tokens must be reduced in order to run successfully. {LIMITS_PAGE}"
        )
        return rate_limited(message, kind, retry_after_seconds=None)
    wait = meter.wait_seconds(now, amount)
    used = max(0, round(meter.capacity - meter.remaining(now)))
    message = (
        f"Rate limit reached for {whom} on {_UNITS[kind]}: Limit {meter.limit}, Used {used}, Requested {amount}. "
        f"Please try again in {format_duration(wait)}. {LIMITS_PAGE}"
    )
    return rate_limited(message, kind, retry_after_seconds=wait)
