"""Names the reason that holds up the first request in the queue, for logs and panels. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Literal

from promptmill.limits.refusals import Refusals
from promptmill.limits.token_bucket import Kind, Pace

Cause = Literal["paused", "refused", "probing", "limits-unknown", "lease"] | Kind
_INSTANT_SECONDS = 1e-6


@dataclass(frozen=True, slots=True)
class WaitingReason:
    """The reason why a request waits."""

    cause: Cause
    seconds: float | None  # seconds until it may be sent; None: nobody can know
    text: str  # a clause for people
    kind: Kind | None = None  # the used-up limit a minute, if it is one


def first_reason(
    *,
    refusals: Refusals,
    is_limit_unknown: bool,
    paces: Mapping[Kind, tuple[Pace, float]],
    factor: float,
    now: float,
) -> WaitingReason:
    """The reason that holds longest; `paces` has each limit, refilled up to now, with the request's amount."""
    if refusals.hold is not None:
        return WaitingReason("paused", None, refusals.hold)
    if refusals.is_probe_out:
        text = f"the provider refused {refusals.count} times in a row; one request is in flight to see whether it accepts more"
        return WaitingReason("probing", None, text)
    if is_limit_unknown:
        text = "the run waits for the first answers, whose headers tell the limits"
        return WaitingReason("limits-unknown", None, text)
    found = [_reason_of(kind, pace, pace.wait_seconds(cost, factor)) for kind, (pace, cost) in paces.items()]
    if (pause := refusals.wait_seconds(now)) > _INSTANT_SECONDS:
        text = f"the provider refused {refusals.count} times in a row; the next request goes in {pause:,.0f} s"
        found.append(WaitingReason("refused", pause, text))
    return max(found, key=lambda reason: inf if reason.seconds is None else reason.seconds)


def _reason_of(kind: Kind, pace: Pace, seconds: float) -> WaitingReason:
    named = kind.replace("_", " ")
    if seconds == inf:
        return WaitingReason("lease", None, f"the shared limit hasn't leased any {named} yet", kind)
    limit = 0.0 if pace.limit is None else pace.limit
    source = "given" if pace.learned is None or pace.whole == pace.given else "told by the provider's headers"
    text = f"the limit is {limit:,.6g} {named} a minute ({source}); the next request goes in {seconds:,.0f} s"
    return WaitingReason(kind, seconds, text, kind)
