"""Listens for orders in a process of a run: looks for new ones every few seconds, carries them out, and confirms them.

A look lists a small folder and reads the new objects in it. If the storage doesn't answer, the run works on and the next
look tries again.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from promptmill.errors import PromptmillError, StorageFailed
from promptmill.steering.order_files import Heard, OrderFiles, SteeredRun
from promptmill.steering.orders import BUDGET_USD, NOT_STEERED, Order, Steering, add_up

LOOK_SECONDS = 4.0  # between two looks; a changed budget of a run in shards takes two looks
Obey = Callable[[Steering], Awaitable[None]]
log = logging.getLogger("promptmill")


@dataclass(slots=True)
class Listener:
    """The orders that one process has heard. For one event loop."""

    files: OrderFiles
    run: SteeredRun
    who: str  # for people
    shard: int | None = None
    steering: Steering = NOT_STEERED
    _orders: dict[str, Order | None] = field(default_factory=dict[str, Order | None])  # None: a damaged order
    _process: str = field(default_factory=lambda: secrets.token_hex(4))
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def look(self, obey: Obey) -> bool:
        """Read new orders, carry them out, and confirm them; False if there is none.

        Raises: StorageFailed, and any error of carrying them out. The next look then reads the same orders again.
        """
        async with self._looking:
            before = self.steering, dict(self._orders)
            if not await asyncio.to_thread(self.hear):
                return False
            try:
                await obey(self.steering)
            except BaseException:
                self.steering, self._orders = before
                raise
            await asyncio.to_thread(self.tell)
            return True

    async def listen(self, obey: Obey) -> None:
        """Look every few seconds until the task is cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look(obey)
            except StorageFailed as error:
                log.debug("orders can't be looked for: %s", error)
            except PromptmillError as error:
                log.warning("an order can't be carried out: %s", error)

    def hear(self) -> bool:
        """Read new orders and add up all orders; False if there is no new one. Blocks. Raises: StorageFailed."""
        names = [name for name in self.files.names(self.run) if name not in self._orders]
        for name in names:
            self._orders[name] = order = self.files.read(self.run, name)
            if order is not None and order.action != "share":
                log.warning("%s", order)
        self.steering = add_up(order for _, order in sorted(self._orders.items()) if order is not None)
        return bool(names)

    @property
    def last_budget_order(self) -> str | None:
        """The name of the last order that sets the budget."""
        orders = ((name, order) for name, order in self._orders.items() if order is not None and order.action == "set")
        return max((name for name, order in orders if BUDGET_USD in order.values), default=None)

    def tell(self) -> None:
        """Confirm the orders that were carried out. Blocks. Raises: StorageFailed."""
        names = tuple(name for name, order in sorted(self._orders.items()) if order is not None)
        self.files.say_heard(self.run, self._process, Heard(self.who, names, self.shard))
