"""Flex where there is capacity, standard where there is none: what a job's `request.tier` asks for.

A refusal for want of capacity costs nothing. Once such refusals have lasted as long as the job waits for capacity, rows are
asked at the standard tier for a minute; then the next row tries flex again. Where the run has a deadline, rows are asked at
the standard tier once time is short. A body without `service_tier` is asked at the
standard tier, under whatever name the provider has for it.
Lives on one event loop.
"""

from collections.abc import Callable
from dataclasses import replace

import orjson

from promptmill.job.spec import Job
from promptmill.provider.attempt import Call, Tries
from promptmill.provider.retry_policy import TryAgain, Verdict

_STANDARD_SECONDS = 60.0  # until flex is tried again


def _never() -> bool:
    return False


class Tiers:
    """Which tier the rows of a run are asked at; shared by all chunks of a process."""

    def __init__(self, wait_seconds: float = 0.0) -> None:
        """`wait_seconds`: how long there may be no capacity before rows fall back."""
        self._wait_seconds = wait_seconds
        self._full_since: float | None = None  # seconds of the loop's clock
        self._standard_until = 0.0
        self.is_late: Callable[[], bool] = _never  # whether a deadline leaves no time for flex

    def call_for(self, call: Call, state: Tries, now: float) -> Call:
        """A row's request at the tier that it is asked at now; noted in its state."""
        state.is_standard = state.is_standard or now < self._standard_until or self.is_late()
        return replace(call, body=without_tier(call.body)) if state.is_standard else call

    def answered(self, state: Tries) -> None:
        """A request was answered."""
        if not state.is_standard:
            self._full_since = None

    def falls_back(self, verdict: Verdict, state: Tries, now: float) -> bool:
        """Whether a row that was refused for want of capacity is to be asked at the standard tier at once."""
        if state.is_standard or not isinstance(verdict, TryAgain) or not verdict.is_capacity:
            return False
        self._full_since = now if self._full_since is None else self._full_since
        if now - self._full_since < self._wait_seconds:
            return False
        self._standard_until = now + _STANDARD_SECONDS
        state.is_standard = True
        return True


def without_tier(body: bytes) -> bytes:
    """A body that names no tier. Pure."""
    asked = orjson.loads(body)
    asked.pop("service_tier", None)
    return orjson.dumps(asked)


def tiers_of(job: Job) -> Tiers | None:
    """The choice between a job's tiers; None where there is none."""
    tier, wait = job.request.tier, job.retry.max_wait_seconds
    if tier is None or tier.fall_back == "none":
        return None
    return Tiers(0.0 if wait is None else wait)
