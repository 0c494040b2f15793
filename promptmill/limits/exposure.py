"""Counts the money that a kill would lose right now, and keeps an upper bound for it on storage.

Money is exposed from just before the run sends the request until it has saved the answer. Before the exposed money passes
the recorded bound, the run writes a higher one: an eighth more than it needs, so that it makes some dozens of writes and
not one for each request. An attempt without a readable answer stays exposed until the next write, which adds it to the
record's own sum.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal

from promptmill.account import Account

WriteAccount = Callable[[Account], Awaitable[None]]
_MARGIN = Decimal("1.125")
_ZERO = Decimal(0)


class Exposure:
    """The exposed money of one process. For one event loop."""

    def __init__(self, write: WriteAccount | None = None) -> None:
        """Without `write` there is no record: for senders whose answers nobody keeps."""
        self._write = write
        self._began_at = time.time()
        self._in_flight_usd = self._unsaved_usd = self._held_usd = self._stranded_usd = _ZERO
        self._in_flight = 0
        self._spent_usd = self._lost_usd = self._retried_usd = self._uncertain_usd = _ZERO
        self._retried = self._uncertain = 0
        self._is_estimating = False
        self._overrun = Decimal(1)  # the highest ratio of an answer's cost to the amount exposed for it
        self._promised: Account | None = None  # as it stands on storage
        self._writing: asyncio.Task[None] | None = None

    @property
    def exposed_usd(self) -> Decimal:
        """The most that a kill would lose right now, without the money that the record already counts as uncertain."""
        return self._at_risk_usd + self._uncertain_usd - self._recorded.uncertain_usd

    @property
    def in_flight(self) -> int:
        """The number of requests that the record covers and that aren't settled."""
        return self._in_flight

    @property
    def not_saved_usd(self) -> Decimal:
        """US dollars that were paid for unsaved answers."""
        return max(_ZERO, self._unsaved_usd) + self._stranded_usd

    def covers(self, amount_usd: Decimal) -> bool:
        """Expose an amount for one attempt if the record covers it already, as it mostly does; False: nothing is exposed."""
        self._in_flight_usd += amount_usd
        self._in_flight += 1
        if self._write is None or self._is_covered:
            return True
        self._in_flight_usd -= amount_usd
        self._in_flight -= 1
        return False

    async def cover(self, amount_usd: Decimal) -> None:
        """Expose an amount for one attempt, after the record covers it. If the write raises, nothing is exposed."""
        self._in_flight_usd += amount_usd
        self._in_flight += 1
        try:
            while self._write is not None and not self._is_covered:
                await self._written()
        except BaseException:
            self._in_flight_usd -= amount_usd
            self._in_flight -= 1
            raise

    def settle(
        self, exposed_usd: Decimal, cost_usd: Decimal, uncertain_usd: Decimal = _ZERO, *, is_estimated: bool = False
    ) -> None:
        """End an attempt: its answer's cost stays exposed until it is saved, an uncertain cost until it is recorded.

        If the provider told no usage, the cost is our estimate and counts as uncertain.
        """
        self._in_flight_usd -= exposed_usd
        self._in_flight -= 1
        self._unsaved_usd += cost_usd
        if is_estimated:
            self._is_estimating = True
        else:
            self._spent_usd += cost_usd
        self._uncertain_usd += uncertain_usd
        self._uncertain += uncertain_usd > 0
        if cost_usd > exposed_usd * self._overrun and exposed_usd > 0:
            self._overrun = cost_usd / exposed_usd

    def retry(self, cost_usd: Decimal) -> None:
        """Count an answer that was paid for and rejected."""
        self._retried_usd += cost_usd
        self._retried += 1

    def hold(self, cost_usd: Decimal) -> None:
        """Note that a row's result is about to be saved, with its cost to this process."""
        self._held_usd += cost_usd

    def keep(self, cost_usd: Decimal, *, is_saved: bool) -> None:
        """Note that results are saved or couldn't be saved; a later run may find unsaved ones, or they are lost."""
        self._held_usd -= cost_usd
        self._unsaved_usd -= cost_usd
        if not is_saved:
            self._stranded_usd += cost_usd

    async def close(self) -> None:
        """Record that nothing is in flight, and what is lost. More may be sent afterwards. Raises: any error of the write."""
        if self._writing is not None:
            await asyncio.wait({self._writing})
        if self._write is None or self._promised is None:
            return
        self._write_off()
        account = self._account(self._at_risk_usd, self._in_flight, is_closed=not self._in_flight)
        if account != self._promised:
            self._writing = self._start(account)
            await self._written()

    def _write_off(self) -> None:
        """Count answers that belong to no row as lost: as known costs, unless we estimated some of them."""
        lost_usd = max(_ZERO, self._unsaved_usd - self._held_usd)
        self._unsaved_usd -= lost_usd
        if self._is_estimating:
            self._stranded_usd += lost_usd
        else:
            self._lost_usd += lost_usd

    @property
    def _recorded(self) -> Account:
        return Account(self._began_at) if self._promised is None else self._promised

    @property
    def _at_risk_usd(self) -> Decimal:
        return self._in_flight_usd * self._overrun + max(_ZERO, self._unsaved_usd) + self._stranded_usd

    @property
    def _is_covered(self) -> bool:
        promised = self._recorded
        return self.exposed_usd <= promised.exposed_usd and self._in_flight <= promised.in_flight

    def _account(self, exposed_usd: Decimal, in_flight: int, *, is_closed: bool) -> Account:
        return Account(
            began_at=self._began_at,
            is_closed=is_closed,
            spent_usd=self._spent_usd,
            lost_usd=self._lost_usd,
            retried_usd=self._retried_usd,
            retried=self._retried,
            uncertain_usd=self._uncertain_usd,
            uncertain=self._uncertain,
            exposed_usd=exposed_usd,
            in_flight=in_flight,
        )

    async def _written(self) -> None:
        """Wait for the write under way, or for one that covers what is exposed now.

        The write is a task of its own: if the caller is cancelled, the write still ends before the next one begins.
        """
        if self._writing is None or self._writing.done():  # done: its callback runs at the loop's next turn
            exposed_usd = max(self._recorded.exposed_usd, self._at_risk_usd * _MARGIN)
            in_flight = max(self._recorded.in_flight, -(-self._in_flight * 9 // 8))
            self._writing = self._start(self._account(exposed_usd, in_flight, is_closed=False))
        await asyncio.shield(self._writing)

    def _start(self, account: Account) -> asyncio.Task[None]:
        task = asyncio.create_task(self._record(account))
        task.add_done_callback(self._end)
        return task

    async def _record(self, account: Account) -> None:
        assert self._write is not None  # noqa: S101 - without it nothing is written
        await self._write(account)
        self._promised = account

    def _end(self, task: asyncio.Task[None]) -> None:
        if self._writing is task:
            self._writing = None
        if not task.cancelled():
            task.exception()  # the waiting callers get the error, if there are any
