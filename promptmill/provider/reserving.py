"""Takes money and capacity for one attempt, in this order; nothing is taken where either can't be had."""

from decimal import Decimal

from promptmill.limits.budget import ZERO, Budget
from promptmill.limits.output_guess import OutputGuess
from promptmill.limits.rate_limiter import RateLimiter
from promptmill.limits.split_tokens import RequestTooLarge
from promptmill.limits.token_bucket import Reservation, Tokens
from promptmill.provider.attempt import Call
from promptmill.provider.covering import stopping
from promptmill.stop import Stop


class Reserving:
    """The budget and the limits of one job, for everything that sends in this process."""

    def __init__(self, budget: Budget, limiter: RateLimiter, stop: Stop) -> None:
        self._budget, self._limiter, self._stop = budget, limiter, stop
        self.guess = OutputGuess()  # of an answer's tokens

    async def reserve(self, call: Call, amount_usd: Decimal) -> Reservation:
        """Wait for the amount and then for capacity; settle both afterwards.

        Raises: RequestTooLarge when the limits never allow the input alone; RunStopped or a subclass when the run ends.
        """
        if self._stop.reason is not None:
            raise self._stop.reason
        if self._budget.take(amount_usd):  # as nearly always where the provider is what limits the run
            if (reservation := self._at_once(call)) is not None:
                return reservation
            self._budget.settle(amount_usd, ZERO)
        with self._stop.waiting():
            await stopping(self._stop, self._budget.reserve(amount_usd))
            try:
                return await self._capacity(call)
            except BaseException:
                self._budget.settle(amount_usd, ZERO)
                raise

    def _at_once(self, call: Call) -> Reservation | None:
        """Capacity that nobody has to wait for."""
        try:
            return self._limiter.take(Tokens(call.input_tokens, self._expected_output(call)))
        except RequestTooLarge:
            return None

    async def _capacity(self, call: Call) -> Reservation:
        """Capacity for an attempt. Where only the guess of its output passes a minute's limit, the whole minute is taken.

        Raises: RequestTooLarge when the input alone is too large.
        """
        try:
            return await self._limiter.reserve(call.input_tokens, self._expected_output(call))
        except RequestTooLarge:
            most_output = self._limiter.most_output(call.input_tokens)
            if most_output is None:
                raise
        return await self._limiter.reserve(call.input_tokens, most_output)

    def _expected_output(self, call: Call) -> int:
        """What the limiter reserves: what answers took so far, or the job's own limit where the provider counts that."""
        if self._limiter.counts_requested:
            return self.guess.at_most(call.max_output_tokens)
        return self.guess.expected(call.max_output_tokens)
