"""Finds how many requests may be in flight at once, from the answers. Moments are arguments; it has no clock of its own.

The number rises while the run uses it and answers come well: it doubles with each round of answers until the first
trouble, then it rises slowly. It falls if the provider refuses, if requests time out, and if answers come so late that
fewer in flight would bring as many (latencies.py). So it rises additively and falls multiplicatively (AIMD: Chiu, Jain,
1989), with three differences that keep refused requests few:
- The number at which the provider refused becomes a ceiling, and is tried again only after many rounds of answers.
- The provider may refuse one request in fifty without a fall, because a flaky server refuses at any number.
- If falls don't help, the number wasn't the cause: it goes back to its old value, and these refusals or latencies count
  as normal.

The rate limiter handles refusals for a limit a minute (rate_limiter.py); this file doesn't see them.
"""

from dataclasses import dataclass
from typing import Literal

from promptmill.limits.latencies import Latencies

_START = 16
MOST = 2_000  # requests in flight, even if machine and provider take more
_USED_SHARE = 0.8  # of the number: only a request that was sent with so many in flight says that more can be used
_GROWTH = 0.1  # a round, once the number has fallen for the first time
_TOLERANCE = 0.02  # of all requests may be refused without a fall
_MOST_TOLERANCE = 0.3
_MOST_CREDIT = 4.0  # refusals in a row without a fall, after many answers
_TIMEOUT_WEIGHT = 0.25  # of a refusal
_FALL = 0.9
_DEEP_FALL = 0.6  # where a third of the requests were refused, or where they time out
_LEAST_AT = 0.5  # of the number, once it was found: a refusal with fewer in flight isn't for our number alone
_LATENCY_FALL = 0.7
_RELIEF = 0.85  # a fall for latency has helped if answers take at most so much of what they took
_TRIED_ROUNDS = 2  # of answers after it: in the first, only the quick ones are back
_HOLD_ROUNDS = 20  # of answers below a ceiling, before it is tried again
_LONGEST_HOLD_ROUNDS = 80
_LEAST_HELD = 100  # answers
_LEAST_ROUND = 20  # answers
_LOW_SHARE = 0.7  # of the number before the first of several falls: refusals below it aren't for our number
_MOST_BACKGROUND = 0.2  # refused at any number; more is an overload
_BACKGROUND_MARGIN = 2.0

Ending = Literal["answered", "refused", "timeout", "other"]


@dataclass(frozen=True, slots=True, eq=False)
class Flight:
    """A request in flight."""

    sent_at: float  # seconds
    in_flight: int  # when it was sent, itself included; without those that hang
    limit: int  # the number when it was sent


@dataclass(slots=True)
class _Round:
    """The answers and refusals since the last judgement of the number."""

    size: float  # requests; as many as were in flight when it began
    answered: int = 0
    refused: int = 0
    timeouts: int = 0
    seconds: float = 0.0  # latencies, in all

    @property
    def ended(self) -> int:
        return self.answered + self.refused + self.timeouts


@dataclass(slots=True)
class _Series:
    """A series of falls for refusals, without a quiet stretch between them."""

    began_at: float  # the number before the first
    low_ended: int = 0  # requests sent while the number was far below that
    low_refused: int = 0


@dataclass(slots=True)
class _Tried:
    """A fall for latency whose effect we don't know yet."""

    limit: float  # before
    seconds: float  # latency before
    rounds: int = 0  # since


class Controller:
    """The number of requests that may be in flight; `most` bounds it."""

    def __init__(self, most: int, start: int = _START) -> None:
        self.most = most
        self.latencies = Latencies()
        self.ceiling: int | None = None  # this number was too high when last tried
        self._limit = float(min(start, most))
        self._is_doubling = True
        self._changed_at = float("-inf")  # time of the last fall; requests from before it tell nothing new
        self._tolerance, self._credit = _TOLERANCE, 0.0
        self._round = _Round(self._limit)
        self._hold_rounds = _HOLD_ROUNDS
        self._held = 0  # answers since the last fall
        self._series: _Series | None = None
        self._tried: _Tried | None = None

    @property
    def limit(self) -> int:
        """How many may be in flight now; at least 1."""
        return int(self._limit)

    def sent(self, flight: Flight) -> None:
        """A request is sent."""
        self.latencies.sent(flight.in_flight)

    def ended(self, flight: Flight, ending: Ending, now: float) -> None:
        """A request has ended so."""
        if ending == "other" or flight.sent_at < self._changed_at:
            return
        if self._series is not None and flight.limit <= _LOW_SHARE * self._series.began_at:
            self._series.low_ended += 1
            self._series.low_refused += ending == "refused"
        if ending == "answered":
            self._answered(flight, now - flight.sent_at)
        elif ending == "refused":
            self._round.refused += 1
            self._charge(1.0, flight, now)
        else:
            self._round.timeouts += 1
            self._charge(_TIMEOUT_WEIGHT, flight, now)
        if self._round.ended >= max(self._round.size, _LEAST_ROUND):
            self._end_round(now)

    def _answered(self, flight: Flight, seconds: float) -> None:
        self._credit = min(_MOST_CREDIT, self._credit + self._tolerance)
        self._round.answered += 1
        self._round.seconds += seconds
        self.latencies.add(flight.in_flight, seconds)
        self._held += 1
        if self.ceiling is not None and self._held >= max(_LEAST_HELD, self._hold_rounds * self._limit):
            self.ceiling = self._series = None  # a quiet stretch: the ceiling may have risen
        if flight.in_flight >= _USED_SHARE * flight.limit and self._tried is None:
            self._rise()

    def _rise(self) -> None:
        step = 1.0 if self._is_doubling else max(1.0, _GROWTH * self._limit) / self._limit
        highest = self.most if self.ceiling is None else max(1, min(self.most, self.ceiling - 1))
        self._limit = max(self._limit, min(highest, self._limit + step))

    def _charge(self, weight: float, flight: Flight, now: float) -> None:
        """Count a sign of overload; lower the number if there are more signs than we tolerate."""
        self._credit -= weight
        if self._credit >= 0:
            return
        if self._is_background():
            self._restore()
            return
        least = 0.0 if self._is_doubling else _LEAST_AT * self._limit
        at = max(least, min(self._limit, float(flight.in_flight))) if weight == 1.0 else self._limit
        deep = weight < 1.0 or self._round.refused > max(2, self._round.answered // 2)
        if self._round.ended >= _LEAST_HELD and self._round.refused > 2 * self._tolerance * self._round.ended:
            self._tolerance = _TOLERANCE
        if self._series is None:
            self._series = _Series(at)
        if self.ceiling is None and not self._is_doubling:  # the second try failed too
            self._hold_rounds = min(_LONGEST_HOLD_ROUNDS, self._hold_rounds * 2)
        self._tried = None
        self._fall(at, _DEEP_FALL if deep else _FALL, now)

    def _is_background(self) -> bool:
        """Whether the provider refuses some requests at any number in flight."""
        series = self._series
        if series is None or series.low_ended < 2 * _LEAST_ROUND or self._limit > _LOW_SHARE * series.began_at:
            return False
        return 0 < series.low_refused <= _MOST_BACKGROUND * series.low_ended

    def _restore(self) -> None:
        """Go back to the number before the falls, and tolerate the refusals below it."""
        assert self._series is not None  # noqa: S101 - only called where there is one
        share = self._series.low_refused / self._series.low_ended
        self._tolerance = min(_MOST_TOLERANCE, max(_TOLERANCE, _BACKGROUND_MARGIN * share))
        self._limit = min(float(self.most), self._series.began_at)
        self._credit, self._series, self.ceiling, self._round = _MOST_CREDIT, None, None, _Round(self._limit)
        self._is_doubling = True

    def _fall(self, at: float, factor: float, now: float) -> None:
        self.ceiling = max(2, int(at))
        self._limit = max(1.0, float(min(int(at) - 1, int(at * factor))))
        self._is_doubling, self._changed_at, self._credit, self._held = False, now, 0.0, 0
        self._round = _Round(self._limit)

    def _end_round(self, now: float) -> None:
        """Judge the latencies of a round."""
        done, self._round = self._round, _Round(self._limit)
        if not done.answered:
            return
        mean = done.seconds / done.answered
        if self._tried is not None:
            self._tried.rounds += 1
            if self._tried.rounds == _TRIED_ROUNDS:
                self._judge_fall(self._tried, mean)
            return
        found = self.latencies.too_many(self.limit) if self._limit > 1 else None
        if found is not None:
            self._tried = _Tried(self._limit, found.seconds)
            self._fall(found.in_flight, _LATENCY_FALL, now)

    def _judge_fall(self, tried: _Tried, seconds: float) -> None:
        """Undo a fall for latency if answers take as long as before, since the number in flight wasn't the cause."""
        self._tried = None
        if seconds > _RELIEF * tried.seconds:
            self.latencies.forget()
            self._limit, self.ceiling = tried.limit, None
