"""Measures how long answers take at each number in flight, and whether more in flight bring more. No clock of its own.

A server that queues every request refuses none, but answers later. By Little's law its rate is the number in flight divided
by the latency. So if half as many in flight would bring nearly the same rate, the other half only queue. Latency alone
doesn't tell: a server that batches (vLLM) answers later with more in flight, and still answers more of them.

The idea of comparing latencies instead of waiting for errors: TCP Vegas (Brakmo, Peterson, 1995), and Netflix's
concurrency-limits, from memory.
"""

from dataclasses import dataclass
from math import log2

_STEPS = 2  # levels for each doubling of the number in flight
_FAST = 0.02  # weight of a new latency, in the average over all levels
_AVERAGED_ROUNDS = 4  # of a level; fewer would follow a burst, whose slow answers come last
_LEAST_AVERAGED = 50  # answers
_NORMAL_ROUNDS = 40  # in the average that says what is normal at a level
_LEAST_SAMPLES = 20  # at a level, before it says anything
_LEAST_BACK = 0.7  # of the requests sent at a level are answered, before it says anything
_LEAST_GAIN = 1.15  # by doubling the number in flight
_GROWN = 2.0  # times the normal latency of the same level
_CLIPPED = 4.0  # times the average: how much a single slow answer can count
_RECENT_ANSWERS = 20  # times the number in flight: an older figure says nothing of now
_LEAST_RECENT_ANSWERS = 200


@dataclass(slots=True)
class _Level:
    """Latencies at about the same number in flight; seconds."""

    sent: int = 0  # requests
    samples: int = 0  # of them, those that were answered
    fast: float = 0.0
    slow: float = 0.0
    seen: int = 0  # number of the last answer


@dataclass(frozen=True, slots=True)
class TooMany:
    """A number in flight that brings no more answers than a smaller one."""

    in_flight: int
    seconds: float  # that answers take at this number


class Latencies:
    """Averages of latency by the number in flight when the request was sent."""

    __slots__ = ("_answers", "_levels", "mean", "spread")

    def __init__(self) -> None:
        self._levels: dict[int, _Level] = {}
        self._answers = 0
        self.mean = 0.0  # seconds, of recent answers
        self.spread = 0.0  # seconds, their mean deviation from it

    def sent(self, in_flight: int) -> None:
        """Note that a request was sent; `in_flight` includes it."""
        number = _level_of(in_flight)
        if number not in self._levels:
            self._levels[number] = _Level()
        self._levels[number].sent += 1

    def add(self, in_flight: int, seconds: float) -> None:
        """An answer took so long; so many were in flight when its request was sent, itself included."""
        self._answers += 1
        if self._answers == 1:
            self.mean, self.spread = seconds, seconds / 2
        clipped = min(seconds, _CLIPPED * (self.mean + self.spread))
        self.spread += _FAST * (abs(clipped - self.mean) - self.spread)
        self.mean += _FAST * (clipped - self.mean)
        level = self._levels.get(_level_of(in_flight))
        if level is None:  # forgotten since the request was sent
            return
        if level.samples:
            seconds = min(seconds, _CLIPPED * level.fast)
        level.samples += 1
        level.fast += _weight(level.samples, _AVERAGED_ROUNDS * in_flight) * (seconds - level.fast)
        level.slow += _weight(level.samples, _NORMAL_ROUNDS * in_flight) * (seconds - level.slow)
        level.seen = self._answers

    def too_many(self, most: int) -> TooMany | None:
        """The highest number in flight, up to `most`, if fewer would bring as many answers; None if that isn't known."""
        highest = _level_of(most)
        telling = {n: level for n, level in self._levels.items() if n <= highest and self._is_telling(n, level)}
        if not telling:
            return None
        number = max(telling)
        here = telling.pop(number)
        found = TooMany(min(most, round(2 ** (number / _STEPS))), here.fast)
        if here.fast > _GROWN * here.slow:
            return found
        lower = {(number - other) / _STEPS: level for other, level in telling.items() if number - other >= _STEPS}
        is_flat = any(2**times * level.fast / here.fast < _LEAST_GAIN**times for times, level in lower.items())
        return found if is_flat else None

    def forget(self) -> None:
        """Forget all latencies, because the old normal no longer holds."""
        self._levels.clear()

    def _is_telling(self, number: int, level: _Level) -> bool:
        """Whether a level has enough recent samples; of requests just sent, only the quick ones are back."""
        oldest = self._answers - max(_RECENT_ANSWERS * 2 ** (number / _STEPS), _LEAST_RECENT_ANSWERS)
        is_known = level.samples >= max(_LEAST_SAMPLES, _LEAST_BACK * level.sent)
        return is_known and level.seen >= oldest


def _level_of(in_flight: int) -> int:
    """The level that a number in flight belongs to; two levels are a doubling."""
    return round(_STEPS * log2(max(1, in_flight)))


def _weight(samples: int, most: int) -> float:
    """The weight of the newest of so many samples: a plain mean at first, then one over the last `most` or so."""
    return 1 / min(samples, max(_LEAST_AVERAGED, most))
