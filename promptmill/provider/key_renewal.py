"""Looks a key up once more when the provider refuses it: a block or an environment may hold a new one by then."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from promptmill.errors import CredentialsError

RenewKeys = Callable[[], Awaitable[bool]]  # whether another key is sent from now on

_EARLY_SECONDS = 300.0  # before a token ends; clients of Azure's own give out a new one from then on
_LEAST_WAIT_SECONDS = 30.0
log = logging.getLogger("promptmill")


def _seconds_until_renewal(expires_at: float, now: float) -> float:
    """How long a token is used before another is looked up; both in seconds since the epoch. Pure."""
    return max(_LEAST_WAIT_SECONDS, expires_at - _EARLY_SECONDS - now)


async def renew_in_time(
    renew: RenewKeys,
    expires_at: Callable[[], float | None],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    now: Callable[[], float] = time.time,
) -> None:
    """Look a token up again before it ends, as long as it says when; runs until it is cancelled or no token says so."""
    while (end := expires_at()) is not None:
        await sleep(_seconds_until_renewal(end, now()))
        try:
            await renew()
        except CredentialsError as error:  # the old one holds for minutes yet
            log.warning("the key ends soon and can't be renewed: %s", error)


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
