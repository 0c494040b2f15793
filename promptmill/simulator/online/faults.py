"""Chooses which attempts go wrong, and how.

A fault depends on the seed, the body and the number of that body's attempt, never on time or order: a run meets the
same faults every time, whatever its concurrency, and a retry of the same row has a draw of its own.
"""

import math
from statistics import NormalDist
from typing import Literal, get_args

from promptmill.simulator.errors import ApiError, overloaded, rate_limited, server_failed
from promptmill.simulator.options import FAULT_RATIOS, SimulatorOptions
from promptmill.simulator.wire import uniform

Fault = Literal["error_500", "error_503", "reset", "garbage", "hang", "slow_body", "rate_limited"]
_FAULTS: tuple[Fault, ...] = get_args(Fault)
UNANSWERED = frozenset(("reset", "hang"))
LOST = frozenset(("reset", "hang", "garbage"))  # the provider made the answer, but the client doesn't get it
_NOT_JSON = b"<html><head><title>502 Bad Gateway</title></head><body>upstream sent garbage</body></html>"
_NORMAL = NormalDist()


def has_faults(options: SimulatorOptions) -> bool:
    """Whether any attempt can meet a fault, so that attempts must be counted."""
    return any(getattr(options, name) for name in FAULT_RATIOS)


def choose_fault(options: SimulatorOptions, digest: bytes, attempt: int) -> Fault | None:
    """The fault of a body's n-th attempt (1 = first), or None."""
    if options.fault_attempts is not None and attempt > options.fault_attempts:
        return None
    draw = uniform(options.seed, "fault", digest, attempt)
    for fault in _FAULTS:
        draw -= getattr(options, fault)
        if draw < 0:
            return fault
    return None


def fault_error(fault: Fault | None, model: str, options: SimulatorOptions) -> ApiError | None:
    """The error response of a fault, if it has one."""
    match fault:
        case "error_500":
            return server_failed()
        case "error_503":
            return overloaded()
        case "rate_limited":
            whom = f"{model} in organization {options.organization}"
            return rate_limited(f"Rate limit reached for {whom}.", "requests", options.retry_after_seconds)
        case _:
            return None


def spoil(body: bytes, digest: bytes) -> bytes:
    """A body that isn't JSON: an HTML page for half of the digests, a torn answer for the others."""
    return _NOT_JSON if digest[0] % 2 else body[: len(body) // 2]


def latency_seconds(options: SimulatorOptions, digest: bytes) -> float:
    """Seconds until a body's answer: lognormal around the mean, always the same for the same body."""
    mean, sigma = options.latency_seconds, options.latency_jitter
    if mean <= 0 or sigma <= 0:
        return mean
    draw = uniform(options.seed, "latency", digest) or 0.5
    return mean * math.exp(sigma * _NORMAL.inv_cdf(draw) - sigma * sigma / 2)
