"""One row's attempts, with limiter and budget around each: `Request` → `Completion` or `Failure`.

Every attempt takes a slot, money and capacity, in this order, and settles what it took whatever happens. A row holds its
slot until its result is stored (chunk.py), but not while it waits for its next attempt.
An error that would hit all rows raises and stops the run; an error of one row is that row's result.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from decimal import Decimal

from promptmill.errors import ProviderRefused, RunStopped
from promptmill.job.spec import Endpoint, Retry
from promptmill.limits.budget import ZERO, Budget
from promptmill.limits.output_guess import OutputGuess
from promptmill.limits.rate_limiter import RateLimiter, RequestTooLarge, Reservation
from promptmill.provider.attempt import Bill, Call, Counters, Judge, Outcome, Tries
from promptmill.provider.billing import Billing
from promptmill.provider.headers import server_limits
from promptmill.provider.quiet_watch import Quiet, QuietWatch
from promptmill.provider.response_body import Answer, Unreadable, read_answer
from promptmill.provider.retry_policy import (
    GiveUp,
    StopRun,
    TryAgain,
    Verdict,
    classify_status,
    describe_long_wait,
    penalty_seconds,
    read_error,
    retry_seconds,
)
from promptmill.provider.transport import RawAnswer, Sender, TransportError
from promptmill.stop import Slot, Stop


class Client:
    """Sends requests of one job to one endpoint; shared by all chunks of a process and event loop."""

    def __init__(
        self,
        *,
        sender: Sender,
        endpoint: Endpoint,
        limiter: RateLimiter,
        budget: Budget,
        billing: Billing,
        retry: Retry,
        stop: Stop,
        secrets: Sequence[str] = (),
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.endpoint: Endpoint = endpoint
        self.limiter = limiter
        self.budget = budget
        self.stop = stop
        self.counters = Counters()
        self.guess = OutputGuess()
        self._sender = sender
        self._billing = billing
        self._retry = retry
        self._secrets = secrets  # cut out of everything that the provider says
        self._chance = chance
        self._watch = QuietWatch(self._explain_quiet)

    async def send(self, call: Call, slot: Slot, judge: Judge) -> Outcome:
        """How a request ended, after as many attempts as it took; the caller holds the slot.

        Raises: RunStopped or a subclass when the run must end; CancelledError when it was stopped before sending.
        """
        with self._watch.working():
            return await self._try_until_answered(call, slot, judge)

    @property
    def quiet(self) -> Quiet | None:
        """Since when and why nothing was sent, None unless it is for ten seconds or more."""
        return self._watch.quiet

    async def _try_until_answered(self, call: Call, slot: Slot, judge: Judge) -> Outcome:
        state = Tries(started=time.monotonic())
        while True:
            verdict = await self._attempt(call, state, judge)
            if isinstance(verdict, StopRun):
                raise self.stop.because(ProviderRefused(f"The run was stopped: {verdict.message}"))
            if not isinstance(verdict, TryAgain):
                return state.outcome(verdict)
            wait = self._wait_before_next(verdict, state)
            if wait is None:
                return state.outcome(GiveUp(verdict.kind, verdict.message, verdict.status))
            await self._pause(wait, slot)

    async def _attempt(self, call: Call, state: Tries, judge: Judge) -> Answer | Verdict:
        """One attempt: reserve, send, settle, judge."""
        output_tokens = self.guess.at_most(call.max_output_tokens)
        reserved_usd = self._billing.reserve_usd(call.input_tokens, output_tokens)
        with self.stop.waiting():
            await self._reserve_money(reserved_usd)
            try:
                reservation = await self.limiter.reserve(call.input_tokens + self._expected_output(call))
            except RequestTooLarge as error:
                self.budget.settle(reserved_usd, ZERO)
                return GiveUp("rate_limited", str(error))
            except BaseException:
                self.budget.settle(reserved_usd, ZERO)
                raise
        bill = Bill(reserved_usd, used_tokens=float(call.input_tokens))
        try:
            return await self._send_once(call, state, reservation, bill, judge)
        except asyncio.CancelledError:
            bill.may_be_billed = True
            raise
        finally:
            self.budget.settle(reserved_usd, bill.cost_usd, reserved_usd if bill.may_be_billed else ZERO)
            self.limiter.settle(reservation, bill.used_tokens)

    async def _reserve_money(self, amount_usd: Decimal) -> None:
        try:
            await self.budget.reserve(amount_usd)
        except RunStopped as error:
            raise self.stop.because(error) from None

    def _expected_output(self, call: Call) -> int:
        """What the limiter reserves: what answers took so far, or the job's own limit where the provider counts that."""
        if self.limiter.counts_requested:
            return self.guess.at_most(call.max_output_tokens)
        return self.guess.expected(call.max_output_tokens)

    async def _send_once(
        self,
        call: Call,
        state: Tries,
        reservation: Reservation,
        bill: Bill,
        judge: Judge,
    ) -> Answer | Verdict:
        await self.stop.confirm()
        self.counters.requests += state.attempts == 0
        self.counters.attempts += 1
        self.counters.in_flight += 1
        state.attempts += 1
        self._watch.sent()
        began = time.monotonic()
        try:
            raw = await self._sender.post(call.body)
        except TransportError as error:
            bill.may_be_billed = error.was_sent
            return TryAgain(error.kind, str(error))
        finally:
            self.counters.in_flight -= 1
        state.latency_seconds = time.monotonic() - began
        if raw.status == 200:
            self.limiter.observe(reservation, *server_limits(raw.headers))
            return self._take_answer(call, raw, state, bill, judge)
        verdict = classify_status(raw.status, raw.headers, read_error(raw.content, self._secrets), time.time())
        if isinstance(verdict, TryAgain) and verdict.holds_everybody_up:
            self._hold_everybody_up(verdict, state, reservation)
        self.limiter.observe(reservation, *server_limits(raw.headers), is_taken=isinstance(verdict, GiveUp))
        bill.used_tokens = 0.0 if raw.status == 429 else bill.used_tokens
        return verdict

    def _take_answer(self, call: Call, raw: RawAnswer, state: Tries, bill: Bill, judge: Judge) -> Answer | TryAgain:
        """Price an answer and say whether it will do."""
        try:
            answer = read_answer(self.endpoint, raw.content, self._secrets)
        except Unreadable as error:
            bill.may_be_billed = True
            return TryAgain("invalid_response", str(error), 200)
        charge = self._billing.charge(answer, call.input_tokens, bill.reserved_usd)
        bill.cost_usd = charge.cost_usd
        bill.used_tokens = float(charge.usage.input_tokens + charge.usage.output_tokens)
        if answer.usage is not None:
            self.guess.saw(answer.usage.output_tokens)
        state.usage += charge.usage
        state.cost_usd += charge.cost_usd
        state.answer = answer
        state.complaint = complaint = judge(answer)
        if complaint is None or not complaint.is_worth_another or state.complaints >= 1:
            return answer
        state.complaints += 1
        return TryAgain(complaint.kind, complaint.message, 200, is_at_once=True)

    def _wait_before_next(self, verdict: TryAgain, state: Tries) -> float | None:
        """Seconds until this row's next attempt, None when there will be none."""
        elapsed = time.monotonic() - state.started
        longest = self._retry.max_elapsed_seconds
        if verdict.holds_everybody_up:
            penalty = penalty_seconds(verdict, state.limited)
            if penalty > longest:
                raise self.stop.because(ProviderRefused(describe_long_wait(penalty, longest, verdict.message)))
            return 0.0 if elapsed + penalty <= longest else None  # the limiter waits
        state.failures += 1
        if state.failures >= self._retry.max_attempts:
            return None
        wait = 0.0 if verdict.is_at_once else retry_seconds(verdict.wait_seconds, state.failures, self._chance())
        return wait if elapsed + wait <= longest else None

    def _hold_everybody_up(self, verdict: TryAgain, state: Tries, reservation: Reservation) -> None:
        state.limited += 1
        self.limiter.penalise(
            penalty_seconds(verdict, state.limited),
            slower=verdict.is_slow_down,
            by_tokens=verdict.is_token_limit,
            sent_at=reservation.sent_at,
        )

    async def _pause(self, seconds: float, slot: Slot) -> None:
        """Wait without holding a slot."""
        if seconds <= 0:
            return
        slot.release()
        self.counters.pausing += 1
        try:
            with self.stop.waiting():
                await asyncio.sleep(seconds)
                await slot.acquire()
        finally:
            self.counters.pausing -= 1

    def _explain_quiet(self) -> str:
        """Why nothing is sent: what waits for the limits, for money, for answers or for its next attempt."""
        if (reason := self.limiter.waiting_reason) is not None:
            return f"{self.limiter.waiting:,} requests wait; {reason.text}"
        if self.budget.waiting:
            reserved = f"${self.budget.reserved_usd:,.4f} is reserved for those on their way"
            return f"{self.budget.waiting:,} requests wait for room under the budget; {reserved}"
        if self.counters.in_flight:
            return f"{self.counters.in_flight:,} requests are on their way, and the provider has answered none of them"
        return f"{self.counters.pausing:,} rows wait for their next attempt after an error"
