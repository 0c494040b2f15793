"""`limits.shared: NAME`: several processes keep to one provider limit by two Prefect global concurrency limits.

NAME-requests and NAME-tokens are made by an operator, with `slot_decay_per_second` the sixtieth part of the limit a
minute and `limit` about three seconds' worth: what an idle limit may hand out at once. Each grant takes slots that decay
by themselves, so that nothing is held: the share of a process that was killed is back as fast as it decays.

A process asks the API about once a second for a block of a second's worth, and not Prefect's own `rate_limit` for each
request, which used 42 to 75 % of a limit (prefect 3.8.8, two processes; blocks: 97 %). A slow server is asked for more
at a time (patience.py); while it is away what was leased is used up and nothing is sent beyond it. Cancelled or
unanswered calls may have been granted; they cost capacity, never the limit. Semantics of grants: prefect 3.8.8,
server/api/concurrency_limits_v2.py, read 2026-11-24.

On sqlite every grant may be refused with 503 while others write: two processes beside 1,200 task runs at once got nothing
for 25 and 30 seconds, and lost none on PostgreSQL (2026-11-25). A limit that is shared in earnest needs PostgreSQL.
"""

import asyncio
import logging
import math
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse
from prefect.exceptions import ObjectNotFound

from promptmill.errors import SetupError
from promptmill.job.spec import Limits
from promptmill.limits.leased_bucket import Kind, Lessor
from tasks.prefect_internals.single_call import calling_once
from tasks.server.lease_backoff import CALL_SECONDS, Patience
from tasks.server.outages import CALL_ERRORS, is_slow

SMALLEST_BLOCK = 12  # slots: the server forgets half a slot at each grant, on average (it rounds decay down)
BURST_SECONDS = 3.0  # what a limit should be, in seconds of its decay: that much piles up while the server stalls
TURN_BLOCKS = 0.5  # of a block's time, at most, until a process that was denied asks again
AWAY_FAILURES = 3  # in a row, until somebody is told: a busy sqlite server refuses a call now and then
_LOCKED = 423  # too few slots are free
EXAMPLES: dict[Kind, int] = {"requests": 6_000, "tokens": 2_000_000}  # a minute, where the job gives none
KINDS: tuple[Kind, ...] = ("requests", "tokens")
log = logging.getLogger("promptmill")


class SlotClient(Protocol):
    """What is used of Prefect's client."""

    async def read_global_concurrency_limit_by_name(self, name: str) -> GlobalConcurrencyLimitResponse:
        """The limit. Raises: ObjectNotFound."""
        ...

    async def increment_concurrency_slots(
        self, names: list[str], slots: int, mode: Literal["concurrency", "rate_limit"]
    ) -> httpx.Response:
        """The limits that were granted; those that don't exist are left out. Raises: httpx.HTTPStatusError."""
        ...


@dataclass(frozen=True, slots=True)
class Terms:
    """What an operator has set for one limit."""

    limit: int  # slots that may be taken at once
    per_second: float  # slots

    def block(self, seconds: float) -> int:
        """Slots of a lease of so many seconds' worth, or of more where that is few, but no more than half the limit."""
        return max(1, min(self.limit // 2, max(math.ceil(seconds * self.per_second), SMALLEST_BLOCK)))


class PrefectLessor:
    """Leases blocks of one shared limit; lives on one event loop."""

    def __init__(
        self,
        client: SlotClient,
        name: str,
        terms: Mapping[Kind, Terms],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._name = name
        self._terms = dict(terms)
        self._chance = chance
        self._must_read: set[Kind] = set()
        self._patience: dict[Kind, Patience] = {kind: Patience() for kind in KINDS}

    def per_minute(self, kind: Kind) -> float:
        """The whole limit, as it was when the run began."""
        return 60 * self._terms[kind].per_second

    async def lease(self, kind: Kind) -> float:
        """The size of a block, once it is granted; a server that is away, or a limit that was deleted, is waited for."""
        with calling_once():  # the client would wait two seconds before its second try
            return await self._lease(kind)

    async def _lease(self, kind: Kind) -> int:
        loop, patience = asyncio.get_running_loop(), self._patience[kind]
        while True:
            began = loop.time()
            try:
                granted = await self._ask(kind)
            except (*CALL_ERRORS, SetupError) as error:
                await self._wait_for_server(kind, error, loop.time() - began)
                continue
            if patience.failures >= AWAY_FAILURES:
                log.info("limits.shared: %s is being leased again", limit_name(self._name, kind))
            patience.answered(loop.time() - began)
            if granted:
                return granted
            turn = TURN_BLOCKS * self._block(kind) / self._terms[kind].per_second
            await asyncio.sleep(turn * (1 + self._chance()) / 2)

    def _block(self, kind: Kind) -> int:
        return self._terms[kind].block(self._patience[kind].block_seconds)

    async def _ask(self, kind: Kind) -> int:
        """The slots granted; 0 = none yet."""
        timeout_seconds = self._patience[kind].timeout_seconds
        if kind in self._must_read:
            self._terms[kind] = await read_terms(self._client, self._name, kind, timeout_seconds=timeout_seconds)
            self._must_read.discard(kind)
        name, block = limit_name(self._name, kind), self._block(kind)
        try:
            async with asyncio.timeout(timeout_seconds):
                answer = await self._client.increment_concurrency_slots([name], block, "rate_limit")
        except httpx.HTTPStatusError as error:
            if error.response.status_code == _LOCKED:
                return 0
            raise
        if not answer.json():
            raise SetupError(_missing(self._name, kind))
        return block

    async def _wait_for_server(self, kind: Kind, error: Exception, seconds: float) -> None:
        if not is_slow(error):
            self._must_read.add(kind)  # another server may answer next, or the limit was changed
        wait = self._patience[kind].failed(seconds, is_slow(error), self._chance())
        if self._patience[kind].failures == AWAY_FAILURES:
            reason = str(error) or type(error).__name__
            log.warning("limits.shared: %s can't be leased, requests wait: %s", limit_name(self._name, kind), reason)
        await asyncio.sleep(wait)


@asynccontextmanager
async def sharing(limits: Limits) -> AsyncGenerator[Lessor | None]:
    """Whoever leases the limit that a job shares, None where it shares none.

    Raises: SetupError when one of its two Prefect limits is missing or can't limit anything.
    """
    if limits.shared is None:
        yield None
        return
    async with get_client() as client:
        given: dict[Kind, int | None] = {"requests": limits.requests_per_minute, "tokens": limits.tokens_per_minute}
        yield await open_lessor(client, limits.shared, given)


async def open_lessor(client: SlotClient, name: str, given: Mapping[Kind, int | None] | None = None) -> PrefectLessor:
    """Leases blocks of NAME-requests and NAME-tokens; `given` are the job's own limits, for the advice in an error.

    Raises: SetupError when one of the two is missing or no rate limit.
    """
    terms: dict[Kind, Terms] = {}
    for kind in KINDS:
        try:
            terms[kind] = await read_terms(client, name, kind, (given or {}).get(kind))
        except CALL_ERRORS as error:
            raise SetupError(
                f"the limit {limit_name(name, kind)!r} can't be read from the Prefect server: "
                f"{type(error).__name__}: {error}. limits.shared needs it. Check PREFECT_API_URL and the server."
            ) from error
    return PrefectLessor(client, name, terms)


async def read_terms(
    client: SlotClient, name: str, kind: Kind, given: int | None = None, timeout_seconds: float = CALL_SECONDS
) -> Terms:
    """What an operator has set for one of the two limits. Raises: SetupError, httpx.HTTPError, TimeoutError."""
    full = limit_name(name, kind)
    try:
        async with asyncio.timeout(timeout_seconds):
            found = await client.read_global_concurrency_limit_by_name(full)
    except ObjectNotFound as error:
        raise SetupError(_missing(name, kind, given)) from error
    if not found.active:
        raise SetupError(
            f"the Prefect limit {full!r} is disabled and would limit nothing (limits.shared: {name}). "
            f"Enable it: prefect gcl update {full} --enable"
        )
    if found.slot_decay_per_second <= 0 or found.limit < 1:
        raise SetupError(
            f"the Prefect limit {full!r} has limit {found.limit} and slot_decay_per_second "
            f"{found.slot_decay_per_second:g}; limits.shared needs both above 0: the decay is the provider's limit a "
            f"minute / 60. Set it: prefect gcl update {full} --limit N --slot-decay-per-second X"
        )
    return Terms(found.limit, found.slot_decay_per_second)


def limit_name(name: str, kind: Kind) -> str:
    """The Prefect limit of one kind."""
    return f"{name}-{kind}"


def create_command(name: str, kind: Kind, per_minute: float) -> str:
    """What an operator types to make a limit."""
    name, slots = limit_name(name, kind), slots_of(per_minute)
    return f"prefect gcl create {name} --limit {slots} --slot-decay-per-second {per_minute / 60:.6g}"


def slots_of(per_minute: float) -> int:
    """What a limit's `limit` should be."""
    return max(2, math.ceil(BURST_SECONDS * per_minute / 60))


def _missing(name: str, kind: Kind, given: int | None = None) -> str:
    per_minute = given or EXAMPLES[kind]
    return (
        f"there is no Prefect limit {limit_name(name, kind)!r}; limits.shared: {name} needs it, and the run would "
        f"otherwise go unlimited. Make it; for {per_minute:,} {kind} a minute, of which --limit is three seconds' "
        f"worth: {create_command(name, kind, per_minute)}"
    )
