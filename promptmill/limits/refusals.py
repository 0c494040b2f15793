"""Slows down after refusals: each brings a pause, and after repeated refusals only one request goes at a time.

A person may hold back all requests too, for any time.

A provider says how long to wait, but not always sensibly: with `Retry-After: 0` in every refusal we would ask as fast as
answers come. So each pause has a minimum that doubles with every refusal in a row. From the second refusal on, a single
probe goes first, and the others follow when the provider has accepted one. Requests that were in flight when a pause began
tell nothing new, so a refused burst counts once.
"""

from math import inf

_FIRST_FLOOR_SECONDS = 0.1  # a single refusal is normal if others use the limit too
_PROBE_SECONDS = 1.0  # the least time between two probes
LONGEST_FLOOR_SECONDS = 60.0
_PROBES_FROM = 2  # refusals in a row


def floor_seconds(refusals: int) -> float:
    """The shortest pause in seconds after this many refusals in a row (1 = the first)."""
    if refusals < _PROBES_FROM:
        return _FIRST_FLOOR_SECONDS
    return min(LONGEST_FLOOR_SECONDS, _PROBE_SECONDS * 2 ** min(refusals - _PROBES_FROM, 30))


class Refusals:
    """Refusals in a row, and the pause and the probe that follow from them; times are seconds of the limiter's clock."""

    __slots__ = (
        "_held_at",
        "_held_before",
        "_probe",
        "_probe_not_before",
        "count",
        "hold",
        "is_probing",
        "paused_until",
    )

    def __init__(self) -> None:
        self.count = 0  # in a row
        self.paused_until = 0.0
        self.is_probing = False  # one request at a time, until the provider accepts one
        self._probe: object | None = None  # the reservation of the request in flight
        self._probe_not_before = 0.0
        self.hold: str | None = None  # why nothing may be sent until a person resumes, as a clause
        self._held_at = self._held_before = 0.0

    def hold_back(self, reason: str | None, now: float) -> None:
        """Hold back every request for this reason; None lets them go."""
        if self.hold is None:
            self._held_at = now
        elif reason is None:
            self._held_before += now - self._held_at
        self.hold = reason

    def held_seconds(self, now: float) -> float:
        """The seconds in all for which a person held back the requests."""
        return self._held_before + (0.0 if self.hold is None else now - self._held_at)

    @property
    def is_probe_out(self) -> bool:
        """Whether all requests wait for the answer to one."""
        return self._probe is not None

    def refused(self, now: float, seconds: float, sent_at: float | None) -> None:
        """Note that the provider refused a request that was sent at `sent_at` and asks for `seconds` of pause."""
        if sent_at is None or sent_at >= self.paused_until:
            self.count += 1
        self.is_probing = self.count >= _PROBES_FROM
        self.paused_until = max(self.paused_until, now + max(seconds, floor_seconds(self.count)))

    def accepted(self, reservation: object, sent_at: float) -> None:
        """Note that the provider accepted a request; a request from before the last pause doesn't count."""
        if reservation is self._probe:
            self.is_probing, self.count = False, self.count // 2
        elif sent_at >= self.paused_until:
            self.count = max(0, self.count - 1)

    def taken(self, reservation: object, now: float) -> None:
        """Note that a request was sent."""
        if self.is_probing:
            self._probe, self._probe_not_before = reservation, now + _PROBE_SECONDS

    def ended(self, reservation: object) -> None:
        """Note that a request is over, with any result."""
        if reservation is self._probe:
            self._probe = None

    def wait_seconds(self, now: float) -> float:
        """Seconds until a request may be sent; infinite while a probe is in flight or a person holds back all requests."""
        if self.hold is not None:
            return inf
        if not self.is_probing:
            return self.paused_until - now
        return inf if self._probe is not None else max(self.paused_until, self._probe_not_before) - now
