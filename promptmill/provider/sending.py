"""One attempt at a request: reserve, send, read, settle, and take what came back as evidence.

Every attempt takes money and capacity, in this order, and settles what it took whatever happens.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from promptmill.job.spec import Endpoint, Retry
from promptmill.limits.budget import ZERO, Budget
from promptmill.limits.places import Places
from promptmill.limits.rate_limiter import RateLimiter
from promptmill.limits.split_tokens import RequestTooLarge
from promptmill.limits.token_bucket import NO_TOKENS, Reservation, Tokens
from promptmill.provider.attempt import Bill, Call, Counters, Judge, Tries
from promptmill.provider.billing import Billing
from promptmill.provider.covering import GATEWAY_STATUSES, Covering
from promptmill.provider.evidence import MOST_UNPROVEN, Evidence
from promptmill.provider.formats import Formats
from promptmill.provider.headers import server_limits, split_limits
from promptmill.provider.next_step import second_chance
from promptmill.provider.posting import Lost, Posting
from promptmill.provider.reserving import Reserving
from promptmill.provider.response_body import Answer, answer_of_text
from promptmill.provider.retry_policy import GiveUp, StopRun, TryAgain, Verdict, penalty_seconds
from promptmill.provider.tiers import Tiers
from promptmill.provider.transport import Sender
from promptmill.stop import Stop

_log = logging.getLogger("promptmill")


class Sending:
    """Carries attempts out for one job and endpoint; shared by all chunks of a process and event loop."""

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
        secrets: Sequence[str],
        evidence: Evidence,
        counters: Counters,
        formats: Formats | None,
        tiers: Tiers | None,
        places: Places,
        on_sent: Callable[[float], None],
    ) -> None:
        self._limiter = limiter
        self._budget = budget
        self._stop = stop
        self._counters = counters
        self._reserving = Reserving(budget, limiter, stop)
        self._billing = billing
        self._retry = retry
        self._evidence = evidence
        self._formats, self._tiers = formats, tiers
        self._standard_billing = billing if tiers is None else replace(billing, tier=None)
        self._on_sent = on_sent
        self._places = places
        self._posting = Posting(sender, endpoint, secrets, counters, places)
        self._is_estimate_told = False

    async def attempt(self, call: Call, state: Tries, judge: Judge) -> Answer | Verdict:
        """One attempt: reserve, send, settle, judge."""
        if self._evidence.is_proven:
            return await self._reserve_and_send(call, state, judge)
        with self._stop.waiting():
            await self._evidence.enter()
        try:
            return await self._reserve_and_send(call, state, judge)
        finally:
            self._evidence.left()

    async def _reserve_and_send(self, call: Call, state: Tries, judge: Judge) -> Answer | Verdict:
        if self._formats is not None:
            call = self._formats.call_for(call, state)
        if self._tiers is not None:
            call = self._tiers.call_for(call, state, asyncio.get_running_loop().time())
        output_tokens = self._reserving.guess.at_most(call.max_output_tokens)
        reserved_usd = self._billing_of(state).reserve_usd(call.input_tokens, output_tokens)
        try:
            reservation = await self._reserving.reserve(call, reserved_usd)
        except RequestTooLarge as error:
            return GiveUp("rate_limited", str(error))
        exposed_usd = self._billing_of(state).exposed_usd(call.input_tokens, output_tokens)
        bill = Bill(reserved_usd, used_tokens=Tokens(call.input_tokens, 0.0), exposed_usd=exposed_usd)
        try:
            async with Covering(self._budget.exposure, self._stop, bill):
                return await self._send_once(call, state, reservation, bill, judge)
        finally:
            self._budget.settle(reserved_usd, bill.cost_usd, bill.uncertain_usd)
            self._limiter.settle(reservation, bill.used_tokens.input, bill.used_tokens.output)

    async def _send_once(
        self,
        call: Call,
        state: Tries,
        reservation: Reservation,
        bill: Bill,
        judge: Judge,
    ) -> Answer | Verdict:
        await self._stop.confirm()
        self._counters.requests += state.attempts == 0
        self._counters.attempts += 1
        state.attempts += 1
        state.sent_at = asyncio.get_running_loop().time()
        self._on_sent(state.sent_at)
        found = await self._posting.post(call.body)
        if isinstance(found, Lost):
            bill.uncertain_usd = ZERO if found.verdict.is_unsent else bill.reserved_usd
            return self._note(found.verdict, state, reservation)
        verdict, state.latency_seconds = found.verdict, found.seconds
        bill.is_doubtful = found.raw.status in GATEWAY_STATUSES
        is_taken = isinstance(verdict, Answer | GiveUp) or (isinstance(verdict, TryAgain) and verdict.is_bought)
        verdict = self._learn(verdict, state)
        if not isinstance(verdict, Answer):
            verdict = self._note(verdict, state, reservation)
        self._limiter.observe(
            reservation, *server_limits(found.raw.headers), split_limits(found.raw.headers), is_taken=is_taken
        )
        if isinstance(verdict, Answer):
            return self._take_answer(verdict, call, state, bill, judge)
        if isinstance(verdict, TryAgain) and verdict.is_bought:
            bill.uncertain_usd = bill.reserved_usd
        if isinstance(verdict, TryAgain) and verdict.is_answered:
            if verdict.generated and judge(salvaged := answer_of_text(verdict.generated)) is None:
                return self._take_answer(salvaged, call, state, bill, judge)
            return second_chance(verdict, state)
        if isinstance(verdict, TryAgain) and (verdict.is_rate_limit or verdict.is_free):
            bill.used_tokens = NO_TOKENS
        return verdict

    def _billing_of(self, state: Tries) -> Billing:
        return self._standard_billing if state.is_standard else self._billing

    def _learn(self, verdict: Answer | Verdict, state: Tries) -> Answer | Verdict:
        """What came back, after it is taken as evidence of provider, format and tier."""
        if isinstance(verdict, Answer) or (isinstance(verdict, TryAgain) and verdict.is_answered):
            self._evidence.answered(state.sent_at)
            if self._formats is not None:
                self._formats.answered(state.format_place)
            if self._tiers is not None:
                self._tiers.answered(state)
            return verdict
        return TryAgain("invalid_request", "", is_free=True) if self._is_asked_otherwise(verdict, state) else verdict

    def _is_asked_otherwise(self, verdict: Verdict, state: Tries) -> bool:
        """Whether a refused request is asked again at once, in a weaker format or at another tier."""
        if self._formats is not None and self._formats.goes_on(verdict, state):
            return True
        return self._tiers is not None and self._tiers.falls_back(verdict, state, asyncio.get_running_loop().time())

    def _note(self, verdict: Verdict, state: Tries, reservation: Reservation) -> Verdict:
        """Take an attempt without an answer as evidence, and let everybody wait where it is everybody's."""
        if not isinstance(verdict, TryAgain) or verdict.is_free:
            return verdict
        now = asyncio.get_running_loop().time()
        if verdict.is_unknown:
            self._counters.saw_unknown(verdict.message)
        if verdict.is_bought and self._evidence.has_unread():
            return StopRun(
                f"the first {MOST_UNPROVEN} answers hold nothing that can be used: {verdict.message}. Check "
                "OPENAI_BASE_URL, request.endpoint and request.parameters, then run the same command again."
            )
        if verdict.is_trouble or verdict.is_unsent:
            state.note_trouble(self._evidence.answered_sent_at)
            if not state.is_troubled_alone:
                self._evidence.troubled(state, now)
        if verdict.holds_everybody_up:
            state.limited += 1
            self._evidence.limited(now)
        is_held = verdict.holds_everybody_up and not (verdict.is_of_concurrency and self._places.is_found)
        if is_held or (self._evidence.is_outage and (verdict.is_trouble or verdict.is_unsent)):
            self._hold_everybody_up(verdict, state, reservation)
        return verdict

    def _take_answer(self, answer: Answer, call: Call, state: Tries, bill: Bill, judge: Judge) -> Answer | TryAgain:
        """Price an answer and say whether it will do."""
        charge = self._billing_of(state).charge(answer, call.input_tokens, bill.reserved_usd)
        if charge.usage.is_estimated and not self._is_estimate_told:
            self._is_estimate_told = True
            _log.warning(
                "the provider tells no usage, or none that can be right; tokens are counted here, costs follow from them, and "
                "such rows are marked (llm_usage_estimated)"
            )
        bill.cost_usd, bill.uncertain_usd = charge.cost_usd, charge.uncertain_usd
        bill.is_estimated = charge.usage.is_estimated
        bill.used_tokens = Tokens(charge.usage.input_tokens, charge.usage.output_tokens)
        if answer.usage.output_tokens is not None:
            self._reserving.guess.saw(answer.usage.output_tokens)
        state.usage = charge.usage if state.answer is None else state.usage + charge.usage
        state.cost_usd += charge.cost_usd
        state.answer = answer
        state.complaint = complaint = judge(answer)
        if self._formats is not None:
            self._formats.judged(complaint, state)
        if complaint is None or not complaint.is_worth_another or state.complaints >= 1:
            return answer
        state.complaints += 1
        bill.is_retried = True
        return TryAgain(complaint.kind, complaint.message, 200, is_at_once=complaint.kind != "server_error")

    def _hold_everybody_up(self, verdict: TryAgain, state: Tries, reservation: Reservation) -> None:
        seconds = penalty_seconds(verdict, state.limited)
        if self._places.is_found and not verdict.names and verdict.wait_seconds is None and state.limited == 1:
            seconds = 0.0  # fewer in flight may be all it takes; the limiter pauses longer for the next refusals
        if not verdict.holds_everybody_up:  # an outage: probes go out, ever further apart
            seconds = min(verdict.wait_seconds or 0.0, self._retry.max_outage_seconds)
        self._limiter.penalise(
            seconds, slower=verdict.is_slow_down, by_tokens=verdict.is_token_limit, sent_at=reservation.sent_at
        )
