"""Keeps the hard cap on money: spent + reserved + uncertain never passes it, over all runs of an output.

`uncertain` is the money of attempts that ended without a readable answer: the provider may have done the work and
billed it. A request that doesn't fit waits while others are under way, since they may take less than they reserved;
when none is under way, the budget is exhausted.
A killed process must not spend unseen. So a process takes the cap in grants: it writes a grant to storage before it uses
it, and the next run counts the grant as spent unless the earlier process closed its books.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from decimal import Decimal

from promptmill.errors import BudgetExhausted
from promptmill.limits.approved_cap import Approved, describe_cap
from promptmill.limits.exposure import Exposure

_GRANTS_A_BUDGET = 100  # a grant is at least a hundredth of the cap, which a kill may count as lost
RecordGrant = Callable[[Decimal], Awaitable[None]]
ZERO = Decimal(0)


class Budget:
    """The money that one output may cost; one object for all senders of this process."""

    def __init__(
        self,
        cap_usd: Decimal | None,
        spent_usd: Decimal = ZERO,
        record_grant: RecordGrant | None = None,
        approved: Approved | None = None,  # the approval, if a person set the cap
        exposure: Exposure | None = None,  # the money that a kill would lose; None: nobody keeps an account
    ) -> None:
        self.exposure = Exposure() if exposure is None else exposure
        self.cap_usd = cap_usd
        self.spent_usd = spent_usd  # known, over all runs
        self.reserved_usd = ZERO
        self.uncertain_usd = ZERO
        self._granted_usd = spent_usd
        self._record_grant = record_grant
        self._approved = approved
        self._granting = asyncio.Lock()
        self.ask_for_more: Callable[[], Awaitable[object]] | None = None  # asked before the budget counts as exhausted
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def committed_usd(self) -> Decimal:
        """The sum of spent, reserved and uncertain money, in US dollars."""
        return self.spent_usd + self.reserved_usd + self.uncertain_usd

    @property
    def waiting(self) -> int:
        """The number of requests that wait for money."""
        return len(self._waiting)

    def take(self, amount_usd: Decimal) -> bool:
        """Take an amount for one attempt, to be settled, if there is money for it now. Returns whether there is."""
        if self.cap_usd is not None:
            committed_usd = self.committed_usd + amount_usd
            is_granted = self._record_grant is None or committed_usd <= self._granted_usd
            if committed_usd > self.cap_usd or not is_granted:
                return False
        self.reserved_usd += amount_usd
        return True

    async def reserve(self, amount_usd: Decimal) -> Decimal:
        """Take an amount for one attempt; returns it, to be settled.

        Raises: BudgetExhausted if it doesn't fit and no request under way could free money.
        """
        if self.take(amount_usd):
            return amount_usd
        while self.cap_usd is not None and self.committed_usd + amount_usd > self.cap_usd:
            if self.reserved_usd > 0:
                await self._settlement()
            elif not await self._is_raised(self.cap_usd):
                raise BudgetExhausted(self._describe(amount_usd))
        self.reserved_usd += amount_usd
        try:
            if self.cap_usd is not None:
                await self._ensure_granted(self.cap_usd)
        except BaseException:
            self.settle(amount_usd, ZERO)
            raise
        return amount_usd

    def settle(self, reserved_usd: Decimal, spent_usd: Decimal, uncertain_usd: Decimal = ZERO) -> None:
        """Replace a reservation by the money that was really spent or may have been spent."""
        self.reserved_usd -= reserved_usd
        self.spent_usd += spent_usd
        self.uncertain_usd += uncertain_usd
        self._wake()

    def change_cap(self, cap_usd: Decimal, earlier_usd: Decimal = ZERO) -> None:
        """Use another cap from now on. Reservations and grants under the old cap stay.

        `earlier_usd` was spent before this budget began, if it had no cap and counted only its own spending.
        """
        self.spent_usd += earlier_usd
        self.cap_usd = cap_usd
        self._approved = None
        self._wake()

    async def freeze(self) -> Decimal:
        """Take no more than is spent and reserved now, until the cap changes again; records this amount and returns it.

        Raises: any error of recording it.
        """
        self.cap_usd = frozen = self.committed_usd
        async with self._granting:
            if self._record_grant is not None:
                await self._record_grant(frozen)
            self._granted_usd = frozen
        return frozen

    async def _is_raised(self, cap_usd: Decimal) -> bool:
        if self.ask_for_more is not None:
            await self.ask_for_more()
        return self.cap_usd is not None and self.cap_usd > cap_usd

    def _wake(self) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)

    async def close(self) -> None:
        """Record the money that was really spent, so that the next run needn't count the whole grant as spent."""
        if self._record_grant is not None and self.cap_usd is not None:
            await self._record_grant(self.spent_usd + self.uncertain_usd)

    async def _settlement(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    async def _ensure_granted(self, cap_usd: Decimal) -> None:
        if self._record_grant is None or self.committed_usd <= self._granted_usd:
            return
        async with self._granting:
            if (needed := self.committed_usd) > self._granted_usd:
                granted = max(
                    needed, min(cap_usd, needed + cap_usd / _GRANTS_A_BUDGET)
                )  # somebody may have lowered the cap
                await self._record_grant(granted)
                self._granted_usd = granted

    def _describe(self, amount_usd: Decimal) -> str:
        return (
            f"the next request could cost ${amount_usd:.6f}, and ${self.committed_usd:.6f} of the budget is spent; "
            f"{describe_cap(self.cap_usd, self._approved)}: all answers that were paid for are kept."
        )
