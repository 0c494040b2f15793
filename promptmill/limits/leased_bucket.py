"""Keeps to a limit that several processes share: a process leases capacity in blocks, and sends only what it has leased.

A block is worth about a second of the whole limit, and requests use it first come, first served. A lease for each request
would cost a call a request and most of the throughput. A request asks for the next block when half of the current one is
used, and only requests do so; so an idle process leases nothing.

The process also keeps its own pace. It never sends faster than the whole limit, however much it has leased. Headers and
refusals can slow it down, but never add to its lease.
"""

import asyncio
from collections.abc import Callable
from typing import Literal, Protocol

from promptmill.limits.token_bucket import Pace

Kind = Literal["requests", "tokens"]
_USED_SHARE = 0.98  # share of a lease that we use, so that a pile-up after a stall passes no minute's limit by 2 %
_LOW_SHARE = 0.5  # share of a block that is left when we ask for the next one
_KEPT_BLOCKS = 2.0  # blocks of returned capacity that we keep; more would be a burst on top of the limit
_ROUNDING = 1e-6  # larger than any rounding error in our sums of floats


class Lessor(Protocol):
    """Hands out the capacity of a shared limit."""

    def per_minute(self, kind: Kind) -> float:
        """The whole limit, of all processes together."""
        ...

    async def lease(self, kind: Kind) -> float:
        """Wait until a block is granted; returns its size. Can be cancelled."""
        ...


class LeasedPace(Pace):
    """The pace of one limit of which this process may use only what it has leased."""

    __slots__ = ("_block", "_ended", "_is_closed", "_kind", "_leasing", "_lessor", "_wanted", "stock")

    def __init__(
        self, given: float | None, lessor: Lessor, kind: Kind, ended: Callable[[BaseException | None], None]
    ) -> None:
        """`ended` is called after each lease, with its error if it failed."""
        super().__init__(self._within(lessor, kind, given))
        self.stock = 0.0  # leased and not used; negative when answers took more than was reserved
        self._lessor = lessor
        self._kind: Kind = kind
        self._ended = ended
        self._block = 0.0  # the size of the last block
        self._wanted = 0.0  # by the next request
        self._leasing: asyncio.Task[None] | None = None
        self._is_closed = False

    @staticmethod
    def _within(lessor: Lessor, kind: Kind, given: float | None) -> float:
        whole = lessor.per_minute(kind)
        return whole if given is None else min(given, whole)

    def give(self, given: float | None) -> None:
        """Use another limit from now on, at most the whole one."""
        super().give(self._within(self._lessor, self._kind, given))

    def want(self, cost: float) -> None:
        """Lease a block if there isn't enough for the next request; a large request takes several, one after another.

        One large lease would starve: processes that ask for less never let the limit recover so far.
        """
        self._wanted = cost
        if not self._has(cost):
            self._lease()

    def wait_seconds(self, cost: float, factor: float) -> float:
        """Seconds as for any pace; infinite until enough is leased, which calls `ended`."""
        return super().wait_seconds(cost, factor) if self._has(cost) else float("inf")

    def take(self, cost: float) -> None:
        """Take leased capacity, and ask for the next block in time."""
        super().take(cost)
        self.stock -= cost
        if self.stock < _LOW_SHARE * self._block:
            self._lease()

    def give_back(self, amount: float) -> None:
        """Keep unused capacity for the next request, within bounds, since a lease can't be given back."""
        super().give_back(amount)
        most = max(_KEPT_BLOCKS * self._block, self._wanted, self.stock)
        self.stock = min(most, self.stock + amount)

    async def close(self) -> None:
        """Stop leasing; a late grant decays at the lessor."""
        self._is_closed = True
        if self._leasing is not None:
            self._leasing.cancel()
            await asyncio.wait([self._leasing])

    def _has(self, cost: float) -> bool:
        return self.stock >= cost - _ROUNDING

    def _lease(self) -> None:
        if self._leasing is None and not self._is_closed:
            self._leasing = asyncio.get_running_loop().create_task(self._lease_block())
            self._leasing.add_done_callback(self._lease_done)

    async def _lease_block(self) -> None:
        self._block = await self._lessor.lease(self._kind)
        self.stock += self._block * _USED_SHARE

    def _lease_done(self, task: asyncio.Task[None]) -> None:
        self._leasing = None
        if not self._is_closed:  # somebody else cancelled the lease, so the next request leases again
            self._ended(None if task.cancelled() else task.exception())
