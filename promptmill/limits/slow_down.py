"""Lowers the pace after a provider said "slow down", and raises it again slowly.

The pace may rise by half in 15 minutes (OpenAI, error codes guide, read 2026-11-24).
"""

_SLOWEST_FACTOR = 0.1
_RECOVERY_SECONDS = 900.0
_RECOVERY_GROWTH = 1.5


class SlowDown:
    """A factor on every pace; times are seconds of the limiter's clock."""

    __slots__ = ("_factor", "_since")

    def __init__(self) -> None:
        self._factor, self._since = 1.0, 0.0

    def halve(self, now: float) -> None:
        """Go on at half the current pace."""
        self._factor, self._since = max(_SLOWEST_FACTOR, self.factor(now) / 2), now

    def factor(self, now: float) -> float:
        """The current share of the full pace."""
        if self._factor >= 1.0:
            return 1.0
        return min(1.0, self._factor * _RECOVERY_GROWTH ** ((now - self._since) / _RECOVERY_SECONDS))
