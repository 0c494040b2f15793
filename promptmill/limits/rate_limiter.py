"""Limits requests and tokens per minute: reserve before, settle after, first come, first served, no polling.

Each limit is a token bucket that refills evenly and holds only a fraction of a second's worth. A bucket of a whole minute
would let a run send two minutes' worth in its first minute, which servers that count over a sliding window refuse. An
even pace stays within N a minute by every documented way of counting, at the cost of about one per cent.

The limiter keeps two counts, its own and the provider's: `x-ratelimit-remaining-*` says what was left when the provider
admitted a request, and the limiter adds what it sent and what refilled since then. The lower count holds.

If several processes share a limit, each leases it in blocks (leased_bucket.py), and a request also waits for the lease.

Sources: OpenAI, "Rate limits" guide, read 2026-11-24; the leaky bucket as a meter, ITU-T I.371.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from promptmill.limits.leased_bucket import Kind, LeasedPace, Lessor
from promptmill.limits.refusals import Refusals
from promptmill.limits.slow_down import SlowDown
from promptmill.limits.split_tokens import NOT_TOLD, SplitTokens, Told
from promptmill.limits.token_bucket import Pace, Reservation, ServerLimit, Tokens
from promptmill.limits.waiting import WaitingReason, first_reason

_PROBES = 8  # requests to send before the provider has told its limits, if the job gives none
_INSTANT_SECONDS = 1e-6  # we don't wait for a shorter time: a timer would fire too early, again and again
_HEAVIEST = 4.0


class RateLimiter:
    """The limits of one provider and model, shared by everything that sends in this process and event loop."""

    def __init__(
        self,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        clock: Callable[[], float] | None = None,
        lessor: Lessor | None = None,
        part: float = 1.0,
        split: SplitTokens | None = None,
    ) -> None:
        """`part` of the limits, given or told by the provider, is this process's; others of the run have the rest.

        A leased limit is never divided here: the lessor decides each process's share, which changes all the time.
        `split`: the limits of input and of output tokens.
        """
        self._clock = clock
        self._lessor = lessor
        self._failure: BaseException | None = None  # the lessor's error: the run may send nothing more
        self.requests = self._pace(requests_per_minute, "requests", part)
        self.tokens = self._pace(tokens_per_minute, "tokens", part)
        self.split = SplitTokens(part=part) if split is None else split
        self._waiting: deque[tuple[Tokens, asyncio.Future[Reservation]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.refusals = Refusals()
        self._slow_down = SlowDown()
        self.counts_requested = False  # the provider counts the requested tokens and gives nothing back
        is_known = self.requests.limit is not None and (self.tokens.limit is not None or self.split.are_known)
        self._probes_left = None if is_known else _PROBES

    @property
    def requests_per_minute(self) -> float | None:
        """The part of the limit that this process may use now, given or learned."""
        return self.requests.limit

    @property
    def tokens_per_minute(self) -> float | None:
        """The part of the limit that this process may use now, given or learned."""
        return self.tokens.limit

    @property
    def waiting(self) -> int:
        """The number of requests that wait for capacity."""
        return len(self._waiting)

    @property
    def waiting_reason(self) -> WaitingReason | None:
        """Why the first waiting request waits; None if none waits."""
        if not self._waiting:
            return None
        now, tokens = self._now(), self._waiting[0][0]
        return first_reason(
            refusals=self.refusals,
            is_limit_unknown=self._probes_left == 0,
            paces={"requests": (self.requests, 1.0), "tokens": (self.tokens, tokens.total), **self.split.paces(tokens)},
            factor=self._slow_down.factor(now),
            now=now,
        )

    def most_output(self, input_tokens: float) -> float | None:
        """The most output tokens that a request with this input can reserve; None if its input alone is too large."""
        return self.split.most_output(input_tokens, self.tokens)

    def take(self, tokens: Tokens) -> Reservation | None:
        """A reservation if all limits allow it now, else None. Raises: RequestTooLarge if they could never allow it."""
        self.split.refuse_too_large(tokens, self.tokens)
        is_at_once = self._failure is None and not self._waiting and self._wait_seconds(tokens) <= _INSTANT_SECONDS
        return self._take(tokens) if is_at_once else None

    async def reserve(self, input_tokens: float, output_tokens: float = 0.0) -> Reservation:
        """Wait until all limits allow it, after all earlier requests, and take it. Raises: any error of a limit's lessor."""
        if self._failure is not None:
            raise self._failure
        tokens = Tokens(input_tokens, output_tokens)
        if (taken := self.take(tokens)) is not None:
            return taken
        future: asyncio.Future[Reservation] = asyncio.get_running_loop().create_future()
        self._waiting.append((tokens, future))
        self.wake()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self.settle(future.result(), 0)
            self.wake()
            raise

    def settle(self, reservation: Reservation, input_tokens: float, output_tokens: float = 0.0) -> None:
        """Correct a reservation's tokens by what the attempt really used; the request itself stays counted."""
        used = Tokens(input_tokens, output_tokens)
        self.split.settle(reservation.tokens, used, keeps_unused=self.counts_requested)
        unused = reservation.tokens.total - used.total
        self.tokens.give_back(min(0.0, unused) if self.counts_requested else unused)
        if self._probes_left is not None:
            self._probes_left += 1  # it ended without an answer, so the limits are still unknown
        self.refusals.ended(reservation)
        self.wake()

    def observe(
        self,
        reservation: Reservation,
        requests: ServerLimit,
        tokens: ServerLimit,
        split: Told = NOT_TOLD,
        *,
        is_taken: bool = True,
    ) -> None:
        """Use what an answer's headers say about the limits and the capacity left.

        A 429 or a 5xx isn't `is_taken`: it doesn't show that the limits are back. Call `penalise` first: this wakes all.
        """
        now = self._now()
        if is_taken:
            self.refusals.accepted(reservation, reservation.sent_at)
        self._refill(now)
        self.requests.learn(requests, now, reservation.sent_at, reservation.requests_mark)
        self.tokens.learn(tokens, now, reservation.sent_at, reservation.tokens_mark)
        self.split.learn(split, now, reservation)
        self._probes_left = None
        self.wake()

    def penalise(
        self, seconds: float, slower: bool = False, by_tokens: bool = False, sent_at: float | None = None
    ) -> None:
        """Let nobody send for these seconds, or longer after repeated refusals; with `slower`, go on at half the pace.

        `sent_at` is when the refused request was sent. With `by_tokens` the provider refused tokens that we had reserved. So
        it counts the requested tokens and not the used ones or, if it tells what is left, a quarter more than we thought.
        """
        now = self._now()
        if by_tokens and self.tokens.left is None:
            self.counts_requested = True
        elif by_tokens:
            self.tokens.weight = min(_HEAVIEST, self.tokens.weight * 1.25)
        self._refill(now)
        self.refusals.refused(now, seconds, sent_at)
        for pace in (self.requests, self.tokens):
            pace.pause(self.refusals.paused_until)
        self.split.pause(self.refusals.paused_until)
        if slower:
            self._slow_down.halve(now)
        self.wake()

    async def close(self) -> None:
        """Lease no more."""
        await self.requests.close()
        await self.tokens.close()

    def _pace(self, given: float | None, kind: Kind, part: float) -> Pace:
        if self._lessor is None:
            return Pace(given, part)
        return LeasedPace(given, self._lessor, kind, self._lease_ended)

    def _lease_ended(self, failure: BaseException | None) -> None:
        self._failure = failure or self._failure
        if self._failure is None:
            self.wake()
            return
        while self._waiting:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_exception(self._failure)

    def _now(self) -> float:
        self._clock = self._clock or asyncio.get_running_loop().time  # to find the loop takes longer than to read it
        return self._clock()

    def _refill(self, now: float) -> float:
        factor = self._slow_down.factor(now)  # of the pace, at which requests go now
        self.requests.refill(now, factor)
        self.tokens.refill(now, factor)
        self.split.refill(now, factor)
        return factor

    def _wait_seconds(self, tokens: Tokens) -> float:
        now = self._now()
        factor = self._refill(now)
        if self._probes_left == 0:
            return float("inf")  # `observe` or a settled probe wakes the queue
        self.requests.want(1)
        self.tokens.want(tokens.total)
        return max(
            self.requests.wait_seconds(1, factor),
            self.tokens.wait_seconds(tokens.total, factor),
            self.split.wait_seconds(tokens, factor),
            self.refusals.wait_seconds(now),
        )

    def _take(self, tokens: Tokens) -> Reservation:
        self.requests.take(1)
        self.tokens.take(tokens.total)
        self.split.take(tokens)
        if self._probes_left is not None:
            self._probes_left -= 1
        marks = (self.requests.reserved, self.tokens.reserved, self.split.input.reserved, self.split.output.reserved)
        reservation = Reservation(tokens, self._now(), *marks)
        self.refusals.taken(reservation, reservation.sent_at)
        return reservation

    def wake(self) -> None:
        """Serve from the head of the queue; set one timer for the first request that must still wait."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            tokens, future = self._waiting[0]
            if future.done():  # cancelled while it waited
                self._waiting.popleft()
                continue
            wait = self._wait_seconds(tokens)
            if wait > _INSTANT_SECONDS:
                if wait != float("inf"):
                    self._timer = asyncio.get_running_loop().call_later(wait, self.wake)
                return
            self._waiting.popleft()
            future.set_result(self._take(tokens))
