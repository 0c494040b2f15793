"""One row's attempts: `Request` → `Completion` or `Failure`.

A row takes a slot before its first attempt and holds it until its result has a place among those to be saved
(runs/chunk_sending.py), but not while it waits for its next attempt or for other rows' answers.
An error that would hit all rows raises and stops the run; an error of one row is that row's result.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from promptmill.errors import ProviderRefused
from promptmill.job.spec import Endpoint, Retry
from promptmill.limits.budget import Budget
from promptmill.limits.changing import hold_requests
from promptmill.limits.places import Places
from promptmill.limits.rate_limiter import RateLimiter
from promptmill.provider.attempt import Call, Counters, Judge, Outcome, Tries, VectorHabits
from promptmill.provider.billing import Billing
from promptmill.provider.evidence import Evidence, Fault
from promptmill.provider.formats import Formats
from promptmill.provider.key_renewal import KeyRenewal, RenewKeys
from promptmill.provider.next_step import Moment, next_step
from promptmill.provider.quiet_watch import Quiet, QuietWatch
from promptmill.provider.response_body import Answer
from promptmill.provider.retry_policy import GiveUp, RenewKey, StopRun, TryAgain, Verdict
from promptmill.provider.sending import Sending
from promptmill.provider.tiers import Tiers
from promptmill.provider.transport import Sender
from promptmill.provider.verdict import describe_refusal
from promptmill.stop import Slot, Stop

_MOST_PLACES = 10_000  # where the caller bounds the requests in flight


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
        evidence: Evidence | None = None,
        renew_key: RenewKeys | None = None,
        formats: Formats | None = None,
        tiers: Tiers | None = None,
        places: Places | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.limiter = limiter
        self.budget = budget
        self.stop = stop
        self.counters = Counters()
        self.vectors = VectorHabits()
        self.places = Places(_MOST_PLACES) if places is None else places
        self._evidence = Evidence() if evidence is None else evidence
        self._keys = KeyRenewal(renew_key)
        self._retry = retry
        self._chance = chance
        self._watch = QuietWatch(self._explain_quiet)
        self._sending = Sending(
            sender=sender,
            endpoint=endpoint,
            limiter=limiter,
            budget=budget,
            billing=billing,
            retry=retry,
            stop=stop,
            secrets=secrets,
            evidence=self._evidence,
            counters=self.counters,
            formats=formats,
            tiers=tiers,
            places=self.places,
            on_sent=self._watch.sent,
        )

    async def send(self, call: Call, slot: Slot, judge: Judge) -> Outcome:
        """How a request ended, after as many attempts as it took; the caller holds the slot.

        Raises: RunStopped or a subclass when the run must end; CancelledError when it was stopped before sending.
        """
        self._evidence.working += 1
        self._watch.begin()
        try:
            return await self._try_until_answered(call, slot, judge)
        finally:
            self._watch.end()
            self._evidence.working -= 1
            self._evidence.look()

    @property
    def quiet(self) -> Quiet | None:
        """Since when and why nothing was sent, None unless it is for ten seconds or more."""
        return self._watch.quiet

    async def _try_until_answered(self, call: Call, slot: Slot, judge: Judge) -> Outcome:
        state = Tries(started=self._seconds())
        while True:
            state.key_number = self._keys.number
            verdict = await self._sending.attempt(call, state, judge)
            if isinstance(verdict, GiveUp) and verdict.param and verdict.param == call.optional:
                return state.outcome(verdict)
            step = verdict if isinstance(verdict, Answer) else await self._next_step(verdict, state, slot)
            if isinstance(step, StopRun):
                raise self.stop.because(ProviderRefused(step.message))
            if isinstance(step, Answer | GiveUp):
                return state.outcome(step)
            if isinstance(verdict, GiveUp) or (isinstance(verdict, TryAgain) and not verdict.is_free):
                self.counters.saw_retry(verdict.kind, time.time())
            await self._pause(step, slot)

    async def _next_step(self, verdict: Verdict, state: Tries, slot: Slot) -> float | GiveUp | StopRun:
        """Seconds until the row's next attempt, or why there is none."""
        if isinstance(verdict, StopRun):
            return StopRun(f"The run was stopped: {verdict.message}")
        if isinstance(verdict, RenewKey):
            if await self._keys.has_replaced(state.key_number):
                return 0.0
            verdict = GiveUp("invalid_request", verdict.message, verdict.status, doubt="key")
        step = verdict if isinstance(verdict, GiveUp) else self._step_after(verdict, state)
        if not isinstance(step, GiveUp) or step.doubt is None:
            return step
        if step.doubt == "money" and state.is_refused_alone:
            return self._after_refused_money(step, state)
        fault = await self._find_fault(step, state, slot)
        if step.doubt == "outage":
            return (
                step if fault == "row" else self._step_after(TryAgain(step.kind, step.message, is_unsent=True), state)
            )
        if fault == "run":
            return StopRun(
                f"The run was stopped: {describe_refusal(step.doubt, step.status, step.message, step.param)}"
            )
        state.is_refused_alone = True
        return self._after_refused_money(step, state) if step.doubt == "money" else step

    def _after_refused_money(self, refusal: GiveUp, state: Tries) -> float | GiveUp | StopRun:
        """Others are answered, so credit may be back: the row is asked again before it is given up."""
        step = self._step_after(TryAgain(refusal.kind, refusal.message, refusal.status), state)
        return replace(refusal, doubt=None) if isinstance(step, GiveUp) else step

    def _step_after(self, verdict: TryAgain, state: Tries) -> float | GiveUp | StopRun:
        at = Moment(self._seconds(), asyncio.get_running_loop().time(), time.time(), self._chance())
        return next_step(verdict, state, self._retry, self._evidence, at)

    def _seconds(self) -> float:
        """Seconds of a clock that stands still while somebody holds all requests back: no row's time is up for that."""
        refusals = self.limiter.refusals
        now = 0.0 if refusals.hold is None else asyncio.get_running_loop().time()
        return time.monotonic() - refusals.held_seconds(now)

    def hold(self, reason: str | None) -> None:
        """Send nothing new for this reason, a clause; go on with None."""
        if reason is None:
            self._evidence.forget_trouble()
        hold_requests(self.limiter, reason, asyncio.get_running_loop().time())

    async def _find_fault(self, refusal: GiveUp, state: Tries, slot: Slot) -> Fault:
        """Whose fault a doubtful refusal is; waits for other rows' answers without holding a slot."""
        slot.release()
        with self.stop.waiting():
            fault = await self._evidence.fault_of(refusal, state.sent_at)
            if fault == "row" or refusal.doubt == "outage":  # otherwise the run stops at once
                await slot.acquire()
        return fault

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
