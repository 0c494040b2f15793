"""Keeps the pace of one limit a minute: what may be sent now, by our count and the provider's. No clock of its own."""

from typing import Literal

from promptmill.record import record

_HEADROOM = 0.995  # share of a limit that we use, since clocks drift and arrivals jitter
_BURST_RATIO = 0.005  # share of a minute that may be sent at once: 0.3 s, so that a busy event loop can catch up


Kind = Literal["requests", "tokens", "input_tokens", "output_tokens"]


@record
class ServerLimit:
    """What one answer's headers said about one limit; None if they said nothing."""

    limit: float | None  # a minute
    remaining: float | None


@record
class Tokens:
    """Tokens that a request will take or took."""

    input: float
    output: float

    @property
    def total(self) -> float:
        """Both together."""
        return self.input + self.output


NO_TOKENS = Tokens(0.0, 0.0)


@record
class Reservation:
    """Capacity taken for one attempt."""

    tokens: Tokens
    sent_at: float  # seconds of the limiter's clock
    requests_mark: float  # requests reserved in all, this one included
    tokens_mark: float
    input_mark: float
    output_mark: float


class Pace:
    """One limit a minute: our own even pace, and what the provider says is left.

    If other processes have the rest of the limit, this pace keeps to its `part`. A request larger than that part, but
    within the whole limit, is sent anyway; the bucket goes negative and later requests wait. The same holds for a request
    larger than the burst.
    """

    __slots__ = (
        "burst",
        "given",
        "learned",
        "left",
        "level",
        "limit",
        "part",
        "per_second",
        "reserved",
        "updated_at",
        "weight",
        "whole",
    )

    def __init__(self, given: float | None, part: float = 1.0) -> None:
        self.given = given
        self.part = part
        self.learned: float | None = None
        self.level = 0.0  # may be sent now; negative: later requests wait
        self.left: float | None = None  # the provider would still accept this much
        self.weight = 1.0  # tokens that the provider counts for each token that we reserve
        self.reserved = 0.0  # in all
        self.per_second = self.burst = self.updated_at = 0.0
        self._set_pace()
        self.level = self.burst

    def _set_pace(self) -> None:
        """Compute both limits again. Call it after each change of `given`, `learned` or `part`; each row reads them often."""
        known = [value for value in (self.given, self.learned) if value is not None]
        self.whole = min(known) if known else None  # of all processes: the lower of given and learned
        self.limit = limit = None if self.whole is None else self.whole * self.part  # what this process may use
        if limit is not None:
            self.burst = max(1.0, _BURST_RATIO * limit)
            self.per_second = max(_HEADROOM * limit - (self.burst - 1), limit / 2) / 60

    def give(self, given: float | None) -> None:
        """Use another limit from now on; None: use the learned one."""
        if self.limit is None:
            self.level = 0.0  # capacity taken without a limit isn't paid back
        self.given = given
        self._set_pace()
        self.level = min(self.level, self.burst)

    def take_part(self, part: float) -> None:
        """Use another part of the limit from now on."""
        self.part = part
        self._set_pace()
        self.level = min(self.level, self.burst)

    def refill(self, now: float, factor: float) -> None:
        """Refill for the time since the last refill, at `factor` of the pace."""
        if (elapsed := now - self.updated_at) <= 0:
            return
        self.updated_at = now
        if self.limit is None:
            return
        self.level = min(self.burst, self.level + elapsed * self.per_second * factor)
        if self.left is not None:
            self.left = min(self.limit, self.left + elapsed * self.limit / 60)

    def want(self, cost: float) -> None:
        """Prepare for the next request; a pace without a lease has nothing to prepare."""

    def wait_seconds(self, cost: float, factor: float) -> float:
        """Seconds until `cost` may be taken; 0 = now. `refill` was called for this moment."""
        limit = self.limit
        if limit is None:
            return 0.0
        own = (min(cost, self.burst) - self.level) / (self.per_second * factor)
        theirs = 0.0 if self.left is None else (min(cost * self.weight, limit) - self.left) * 60 / limit
        return max(own, theirs, 0.0)

    def take(self, cost: float) -> None:
        """Take capacity; the level may go negative."""
        self.reserved += cost
        self.level -= cost
        if self.left is not None:
            self.left -= cost * self.weight

    def give_back(self, amount: float) -> None:
        """Return unused capacity; a negative amount takes more."""
        self.level = min(self.burst, self.level + amount)

    def pause(self, until: float) -> None:
        """Refill nothing until then."""
        self.level = min(self.level, 0.0)  # nothing to burst with afterwards
        self.updated_at = max(self.updated_at, until)

    async def close(self) -> None:
        """Stop; a pace without a lease has nothing to give back."""

    def learn(self, told: ServerLimit, now: float, sent_at: float, mark: float) -> None:
        """Use an answer's headers; its request was sent at `sent_at`, when `mark` had been reserved in all."""
        if told.limit is not None and told.limit > 0 and told.limit != self.learned:
            self.level = 0.0 if self.limit is None else self.level
            self.learned = told.limit
            self._set_pace()
        if told.remaining is not None and (limit := self.limit) is not None:
            refilled = (now - sent_at) * limit / 60
            self.left = min(limit, told.remaining * self.part + refilled - (self.reserved - mark) * self.weight)
