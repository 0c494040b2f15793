"""What a row does after an attempt that may be tried again: wait, give up, or stop the run. Pure.

A row gives up only for what is its own: waits for limits, outages and unreachable servers don't count against it, and end
the run with the row unanswered if they last too long.
"""

from dataclasses import dataclass, replace

from promptmill.job.spec import Retry
from promptmill.provider.attempt import Tries
from promptmill.provider.evidence import Evidence
from promptmill.provider.retry_policy import (
    GiveUp,
    StopRun,
    TryAgain,
    describe_long_wait,
    describe_no_capacity,
    describe_outage,
    penalty_seconds,
    retry_seconds,
)
from promptmill.provider.transport import TransportError

_MOST_BOUGHT = 2  # answers of one row that can't be read


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, by three clocks, and the jitter of this wait."""

    monotonic: float  # seconds; of `Tries.started`
    loop: float  # seconds; of the evidence
    epoch: float  # seconds
    chance: float  # from 0 to 1


def next_step(
    verdict: TryAgain, state: Tries, retry: Retry, evidence: Evidence, at: Moment
) -> float | GiveUp | StopRun:
    """Seconds until the row's next attempt, or why there is none; counts the attempt where it counts against the row."""
    elapsed = at.monotonic - state.started
    if verdict.is_free:
        return 0.0
    if verdict.holds_everybody_up:
        return _after_refusal(verdict, state, retry, evidence, at)
    if evidence.trouble_since is not None and (verdict.is_trouble or verdict.is_unsent):
        lasted = at.loop - evidence.trouble_since
        if lasted >= retry.max_outage_seconds:
            return StopRun(describe_outage(lasted, retry.max_outage_seconds, verdict.message))
        if evidence.is_outage:
            state.started = at.monotonic
            return 0.0  # the limiter waits
    state.failures += 1
    state.bought += verdict.is_bought
    wait = 0.0 if verdict.is_at_once else retry_seconds(verdict.wait_seconds, state.failures, at.chance)
    is_over = state.failures >= retry.max_attempts or elapsed + wait > retry.max_elapsed_seconds
    if verdict.is_unsent and not state.is_troubled_alone:
        return wait
    if not is_over and state.bought < _MOST_BOUGHT:
        return wait
    given_up = GiveUp(verdict.kind, verdict.message, verdict.status)
    return replace(given_up, doubt="outage") if verdict.is_trouble and not state.is_troubled_alone else given_up


def _after_refusal(
    verdict: TryAgain, state: Tries, retry: Retry, evidence: Evidence, at: Moment
) -> float | GiveUp | StopRun:
    """After a refusal because of how much is sent. The limiter waits for everybody, unless too many were in flight."""
    longest = retry.longest_wait_seconds
    penalty = penalty_seconds(verdict, state.limited)
    if penalty > longest:
        return StopRun(describe_long_wait(penalty, longest, verdict.message, at.epoch))
    refused = 0.0 if evidence.refused_since is None else at.loop - evidence.refused_since
    if refused >= longest:
        return StopRun(describe_no_capacity(refused, longest, verdict.message))
    others_were_answered, state.answers_seen = evidence.answers > state.answers_seen, evidence.answers
    if (
        others_were_answered
        and state.limited > 1
        and at.monotonic - state.started + penalty > retry.max_elapsed_seconds
    ):
        return GiveUp(verdict.kind, verdict.message, verdict.status)
    return retry_seconds(verdict.wait_seconds, state.limited, at.chance) if verdict.is_of_concurrency else 0.0


def second_chance(verdict: TryAgain, state: Tries) -> TryAgain | GiveUp:
    """Like an answer that won't do, one that the provider kept back is asked for once more."""
    state.complaints += 1
    return verdict if state.complaints <= 1 else GiveUp(verdict.kind, verdict.message, verdict.status)


def verdict_on_transport(error: TransportError) -> TryAgain:
    """What an attempt means that brought no answer."""
    if error.kind == "invalid_response":
        return TryAgain(error.kind, str(error), is_bought=True)
    return TryAgain(error.kind, str(error), is_trouble=True, is_unsent=not error.was_sent)
