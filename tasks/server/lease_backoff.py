"""How a server that leases blocks is asked while it is slow: longer waits, larger blocks, no rest. Pure.

A server under load answers late or with 503: one on sqlite does so for many seconds while others write to it, each 503
after about two (prefect 3.8.8, measured 2026-11-25). Giving up after a fixed time would then never get an answer and
lose what was granted by those that came too late; and rests between calls would leave the limit to nobody. So the last
call's time says how long to wait for the next one, and how much to ask for in it.
"""

from dataclasses import dataclass

CALL_SECONDS = 5.0  # at least, until a call is given up
MOST_CALL_SECONDS = 30.0
BLOCK_SECONDS = 1.0  # of a limit's worth, for a server that answers at once
AWAY_SECONDS = 5.0  # at most, between two calls to a server that is away
_SLOW_SECONDS = 0.5  # at most, between two calls to one that is slow: it has had its rest


@dataclass(slots=True)
class Patience:
    """What the calls for one limit have taught; lives as long as they do."""

    last_seconds: float = 0.0  # that the last call took, be it in vain
    failures: int = 0  # in a row

    @property
    def timeout_seconds(self) -> float:
        """How long to wait for the next answer: twice as long as for the last one."""
        return min(MOST_CALL_SECONDS, max(CALL_SECONDS, 2 * self.last_seconds))

    @property
    def block_seconds(self) -> float:
        """How much of the limit to ask for, in seconds of it: enough to bridge a call."""
        return max(BLOCK_SECONDS, 2 * self.last_seconds)

    def answered(self, seconds: float) -> None:
        """A call was answered, granted or not."""
        self.last_seconds, self.failures = seconds, 0

    def failed(self, seconds: float, is_slow: bool, chance: float) -> float:
        """Seconds to wait after a call that failed, in part by chance (0 to 1)."""
        self.last_seconds, self.failures = seconds, self.failures + 1
        longest = _SLOW_SECONDS if is_slow else min(AWAY_SECONDS, 0.25 * 2 ** min(self.failures, 10))
        return longest * (1 + chance) / 2
