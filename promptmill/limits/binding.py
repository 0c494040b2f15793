"""Finds the limit that holds up a run, at one moment and over a stretch of time. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from promptmill.limits.token_bucket import Kind
from promptmill.limits.waiting import WaitingReason

Limit = Literal["paused", "provider", "concurrency", "budget", "machine"] | Kind
_BUSY_SHARE = 0.85  # share of a core: above it, the event loop can't send more
_FULL_SHARE = 0.8  # share of the places with a request on the wire; below it, rows hold places while they wait for us
_LEAST_SHARE = 0.1  # share of the time; below it, a limit isn't worth naming


@dataclass(frozen=True, slots=True)
class Moment:
    """What a run waits for at one moment."""

    reason: WaitingReason | None  # reason of the first request in the rate limiter's queue; None: the queue is empty
    waits_for_money: bool
    waits_for_place: bool  # a row waits for a place in flight
    on_wire: int  # requests
    places: int
    busy_share: float  # share of the last stretch in which the event loop's thread computed


def limit_at(moment: Moment) -> Limit | None:
    """The limit that holds up the run at a moment; None if nothing does, as at the beginning and the end."""
    if moment.reason is not None and moment.reason.cause == "paused":
        return "paused"
    if moment.reason is not None:
        return moment.reason.kind if moment.reason.kind is not None else "provider"
    if moment.waits_for_money:
        return "budget"
    if moment.busy_share >= _BUSY_SHARE:
        return "machine"
    if not moment.waits_for_place:
        return None
    return "concurrency" if moment.on_wire >= _FULL_SHARE * moment.places else "machine"


def shares_of(seconds: Mapping[Limit | None, float]) -> dict[str, float]:
    """The limits that held up a run for at least a tenth of the time, with their shares of it, highest first."""
    total = sum(seconds.values())
    shares = {limit: amount / total for limit, amount in seconds.items() if limit is not None and total}
    named = sorted(shares.items(), key=lambda pair: -pair[1])
    return {limit: round(share, 3) for limit, share in named if share >= _LEAST_SHARE}
