"""Decides how to ask a slow server for leases: wait longer, ask for larger blocks, don't rest between calls. Pure.

A server under load answers late or with 503: on sqlite it does so for many seconds while others write to it, and each 503
takes about two seconds (prefect 3.8.8, measured 2026-11-25). If we gave up after a fixed time, we would get no answer at
all, and lose the blocks whose grant comes too late. If we rested between calls, nobody would use the limit meanwhile.
So the time that the last call took says how long to wait for the next one, and how much to ask for in it.
"""

from dataclasses import dataclass

CALL_SECONDS = 5.0  # we wait for an answer at least this long
MOST_CALL_SECONDS = 30.0
BLOCK_SECONDS = 1.0  # of a limit's worth, for a server that answers at once
AWAY_SECONDS = 5.0  # at most, between two calls to a server that is away
_SLOW_SECONDS = 0.5  # at most, between two calls to a slow server: the slow call was its rest


@dataclass(slots=True)
class Patience:
    """The experience with all calls for one limit."""

    last_seconds: float = 0.0  # duration of the last call, answered or not
    failures: int = 0  # in a row

    @property
    def timeout_seconds(self) -> float:
        """Seconds to wait for the next answer: twice the duration of the last call."""
        return min(MOST_CALL_SECONDS, max(CALL_SECONDS, 2 * self.last_seconds))

    @property
    def block_seconds(self) -> float:
        """The amount to ask for, in seconds of the limit: enough to bridge a call."""
        return max(BLOCK_SECONDS, 2 * self.last_seconds)

    def answered(self, seconds: float) -> None:
        """Note a call that the server answered, granted or not."""
        self.last_seconds, self.failures = seconds, 0

    def failed(self, seconds: float, is_slow: bool, chance: float) -> float:
        """Note a call that failed; returns the seconds to wait before the next one, spread by `chance` (0 to 1)."""
        self.last_seconds, self.failures = seconds, self.failures + 1
        longest = _SLOW_SECONDS if is_slow else min(AWAY_SECONDS, 0.25 * 2 ** min(self.failures, 10))
        return longest * (1 + chance) / 2
