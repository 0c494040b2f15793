"""What refusals do to the pace: each brings a pause, and repeated ones let one request through at a time.

A person may hold all requests back too, for as long as they like.

A provider says how long to wait, but not always sensibly: `Retry-After: 0` with every refusal would have us ask as fast
as answers come. So each pause is at least a floor that doubles with every refusal in a row, and from the second on a
single probe goes first: only once one is taken does everybody go on. Requests that were on their way when a pause began
tell nothing new, so that a refused burst counts once.
"""

from math import inf

_FIRST_FLOOR_SECONDS = 0.1  # a single refusal is the daily business of a limit that others use too
_PROBE_SECONDS = 1.0  # at least so long between two probes
LONGEST_FLOOR_SECONDS = 60.0
_PROBES_FROM = 2  # refusals in a row


def floor_seconds(refusals: int) -> float:
    """The shortest pause after so many refusals in a row (1 = the first)."""
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
        self.is_probing = False  # one request at a time, until one is taken
        self._probe: object | None = None  # the reservation that is on its way
        self._probe_not_before = 0.0
        self.hold: str | None = None  # why nothing may be sent until somebody says so, as a clause
        self._held_at = self._held_before = 0.0

    def hold_back(self, reason: str | None, now: float) -> None:
        """Let nothing be sent for this reason; go on with None."""
        if self.hold is None:
            self._held_at = now
        elif reason is None:
            self._held_before += now - self._held_at
        self.hold = reason

    def held_seconds(self, now: float) -> float:
        """For how long nothing was sent in all because somebody said so."""
        return self._held_before + (0.0 if self.hold is None else now - self._held_at)

    @property
    def is_probe_out(self) -> bool:
        """Whether everybody waits for the answer to one request."""
        return self._probe is not None

    def refused(self, now: float, seconds: float, sent_at: float | None) -> None:
        """The provider refused a request that was sent at `sent_at`, and asks for `seconds` of pause."""
        if sent_at is None or sent_at >= self.paused_until:
            self.count += 1
        self.is_probing = self.count >= _PROBES_FROM
        self.paused_until = max(self.paused_until, now + max(seconds, floor_seconds(self.count)))

    def accepted(self, reservation: object, sent_at: float) -> None:
        """The provider took a request; one from before the last pause says nothing of the time after it."""
        if reservation is self._probe:
            self.is_probing, self.count = False, self.count // 2
        elif sent_at >= self.paused_until:
            self.count = max(0, self.count - 1)

    def taken(self, reservation: object, now: float) -> None:
        """A request is sent."""
        if self.is_probing:
            self._probe, self._probe_not_before = reservation, now + _PROBE_SECONDS

    def ended(self, reservation: object) -> None:
        """A request is over, whatever came of it."""
        if reservation is self._probe:
            self._probe = None

    def wait_seconds(self, now: float) -> float:
        """Seconds until a request may be sent; infinite while a probe is on its way, or while somebody holds all back."""
        if self.hold is not None:
            return inf
        if not self.is_probing:
            return self.paused_until - now
        return inf if self._probe is not None else max(self.paused_until, self._probe_not_before) - now
