"""A process of a run that listens: it looks for new orders every few seconds, carries them out, and says that it has.

A look is one listing of a small folder, and the reading of what is new in it. A storage that doesn't answer keeps no run
from its work: the next look asks again.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from promptmill.errors import PromptmillError, StorageFailed
from promptmill.steering.order_files import Heard, OrderFiles, SteeredRun
from promptmill.steering.orders import BUDGET_USD, NOT_STEERED, Order, Steering, add_up

LOOK_SECONDS = 4.0  # between two looks; a changed budget takes two where it is shared out among shards
Obey = Callable[[Steering], Awaitable[None]]
log = logging.getLogger("promptmill")


@dataclass(slots=True)
class Listener:
    """The orders that one process has heard; lives on one event loop."""

    files: OrderFiles
    run: SteeredRun
    who: str  # for people
    shard: int | None = None
    steering: Steering = NOT_STEERED
    _orders: dict[str, Order | None] = field(default_factory=dict[str, Order | None])  # None: it can't be obeyed
    _process: str = field(default_factory=lambda: secrets.token_hex(4))
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def look(self, obey: Obey) -> bool:
        """Hear what is new, have it carried out, and say so; False when nothing is new.

        Raises: StorageFailed; what carrying it out raises. Then the next look hears the same again.
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
        """Look again and again until the task is cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look(obey)
            except StorageFailed as error:
                log.debug("orders can't be looked for: %s", error)
            except PromptmillError as error:
                log.warning("an order can't be carried out: %s", error)

    def hear(self) -> bool:
        """Read the orders that are new, and add all up; False when there is none. Blocks. Raises: StorageFailed."""
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
        """Say what was carried out. Blocks. Raises: StorageFailed."""
        names = tuple(name for name, order in sorted(self._orders.items()) if order is not None)
        self.files.say_heard(self.run, self._process, Heard(self.who, names, self.shard))
