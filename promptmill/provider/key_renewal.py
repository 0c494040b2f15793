"""Looks a key up once more when the provider refuses it: a block or an environment may hold a new one by then."""

import asyncio
from collections.abc import Awaitable, Callable

from promptmill.errors import CredentialsError

RenewKeys = Callable[[], Awaitable[bool]]  # whether another key is sent from now on


class KeyRenewal:
    """The keys of one run, numbered; each is looked up once more, however many requests it was refused for."""

    def __init__(self, renew: RenewKeys | None) -> None:
        self.number = 0  # of the key that is sent now
        self._renew = renew
        self._asked = -1  # the key that was looked up again last
        self._turn = asyncio.Lock()

    async def has_replaced(self, number: int) -> bool:
        """Whether another key than the refused one is sent now; looks it up where nobody has yet."""
        async with self._turn:
            if number == self.number and number != self._asked and self._renew is not None:
                self._asked = number
                try:
                    self.number += await self._renew()
                except CredentialsError:  # the block is gone, or holds nothing that can be sent
                    return False
            return number != self.number
