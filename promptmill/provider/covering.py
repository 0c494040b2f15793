"""Around one attempt: the account covers it before it is sent, and learns what it took whatever happens."""

import asyncio
from collections.abc import Awaitable

from promptmill.errors import RunStopped
from promptmill.limits.exposure import Exposure
from promptmill.provider.attempt import Bill
from promptmill.stop import Stop

GATEWAY_STATUSES = frozenset({408, 502, 504, 520, 522, 524})  # of a proxy that gave up on the model, or lost its answer


async def stopping(stop: Stop, work: Awaitable[object]) -> None:
    """Wait for something without which nothing may be sent. Raises: why the run stops, if it fails."""
    try:
        await work
    except RunStopped as error:
        raise stop.because(error) from None


class Covering:
    """Cover the most that the attempt may cost, and settle it by its bill.

    Raises: StorageFailed, which ends the chunk and not the run, since the storage may come back.
    """

    __slots__ = ("_bill", "_exposure", "_stop")

    def __init__(self, exposure: Exposure, stop: Stop, bill: Bill) -> None:
        self._exposure, self._stop, self._bill = exposure, stop, bill

    async def __aenter__(self) -> None:
        if self._exposure.covers(self._bill.exposed_usd):
            return
        with self._stop.waiting():
            await self._exposure.cover(self._bill.exposed_usd)

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        bill, exposure = self._bill, self._exposure
        if isinstance(error, asyncio.CancelledError):
            bill.uncertain_usd = bill.reserved_usd
        is_all = bill.is_doubtful or bill.uncertain_usd >= bill.reserved_usd
        uncertain_usd = bill.exposed_usd if is_all and not bill.cost_usd else bill.uncertain_usd
        exposure.settle(bill.exposed_usd, bill.cost_usd, uncertain_usd, is_estimated=bill.is_estimated)
        if bill.is_retried:
            exposure.retry(bill.cost_usd)
