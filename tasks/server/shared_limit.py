"""Leases `limits.shared: NAME`: several processes keep to one provider limit by two Prefect global concurrency limits.

An operator makes NAME-requests and NAME-tokens. Their `slot_decay_per_second` is the sixtieth part of the limit a minute,
and their `limit` about three seconds' worth, which an idle limit may hand out at once. Each grant takes slots that decay by
themselves, so that a process holds nothing: if it is killed, its part is free again as fast as the slots decay.

About once a second, a process asks the API for a block of a second's worth. It doesn't use Prefect's `rate_limit` for each
request, which reached 42 to 75 % of a limit (prefect 3.8.8, two processes; blocks: 97 %). It asks a slow server for more at
a time (lease_backoff.py). While the server is away, it uses up what it leased and sends nothing beyond that. A call that
was cancelled or unanswered may have been granted: this costs capacity, but never passes the limit. How the server grants
slots: prefect 3.8.8, server/api/concurrency_limits_v2.py, read 2026-11-24.

On sqlite the server may refuse any grant with 503 while others write: two processes beside 1,200 task runs at once got
nothing for 25 and 30 seconds. On PostgreSQL they lost no second (2026-11-25). Share a limit in earnest on PostgreSQL.
"""

import asyncio
import logging
import math
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
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

_SMALLEST_BLOCK = 12  # slots; at each grant the server loses half a slot on average, since it rounds decay down
_BURST_SECONDS = 3.0  # what a limit should hold, in seconds of its decay: so much piles up while the server stalls
_TURN_BLOCKS = 0.5  # a process that was denied asks again after this part of a block's time, at most
_TOLD_FAILURES = 3  # in a row, before we log it: a busy server on sqlite refuses a call now and then
_LOCKED = 423  # too few slots are free
_EXAMPLES: dict[Kind, int] = {"requests": 6_000, "tokens": 2_000_000}  # a minute, for the advice if the job gives none
_KINDS: tuple[Kind, ...] = ("requests", "tokens")
log = logging.getLogger("promptmill")


class _SlotClient(Protocol):
    """The part of Prefect's client that we use."""

    async def read_global_concurrency_limit_by_name(self, name: str) -> GlobalConcurrencyLimitResponse:
        """The limit. Raises: ObjectNotFound."""
        ...

    async def increment_concurrency_slots(
        self, names: list[str], slots: int, mode: Literal["concurrency", "rate_limit"]
    ) -> httpx.Response:
        """The limits that were granted, without those that don't exist. Raises: httpx.HTTPStatusError."""
        ...


@dataclass(frozen=True, slots=True)
class _Terms:
    """An operator's settings for one limit."""

    limit: int  # slots that may be taken at once
    per_second: float  # slots

    def block(self, seconds: float) -> int:
        """The slots to ask for: so many seconds' worth, at least `_SMALLEST_BLOCK`, at most half the limit."""
        return max(1, min(self.limit // 2, max(math.ceil(seconds * self.per_second), _SMALLEST_BLOCK)))


@dataclass(slots=True)
class _LeasedLimit:
    """One of the two limits, and the experience with its calls."""

    name: str  # name of the Prefect limit
    terms: _Terms
    patience: Patience = field(default_factory=Patience)
    must_read_terms: bool = False  # before the next lease: another server may answer, or somebody changed the limit

    def block(self) -> int:
        """The slots to ask for next."""
        return self.terms.block(self.patience.block_seconds)

    def turn_seconds(self) -> float:
        """The longest time in seconds for which a denied process leaves the limit to others."""
        return _TURN_BLOCKS * self.block() / self.terms.per_second


class PrefectLessor:
    """Leases blocks of one shared limit. For one event loop."""

    def __init__(
        self,
        client: _SlotClient,
        name: str,
        terms: Mapping[Kind, _Terms],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._name = name
        self._chance = chance
        self._limits = {kind: _LeasedLimit(_limit_name(name, kind), found) for kind, found in terms.items()}

    def per_minute(self, kind: Kind) -> float:
        """The whole limit, as last read."""
        return 60 * self._limits[kind].terms.per_second

    async def lease(self, kind: Kind) -> float:
        """Wait until a block is granted, also while the server is away or the limit doesn't exist; returns its size."""
        with calling_once():  # the client would wait two seconds before its second try
            return await self._lease(kind, self._limits[kind])

    async def _lease(self, kind: Kind, limit: _LeasedLimit) -> int:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                granted = await self._ask(kind, limit)
            except (*CALL_ERRORS, SetupError) as error:
                await self._wait_for_server(limit, error, loop.time() - began)
                continue
            if limit.patience.failures >= _TOLD_FAILURES:
                log.info("limits.shared: the server grants %s again", limit.name)
            limit.patience.answered(loop.time() - began)
            if granted:
                return granted
            await asyncio.sleep(limit.turn_seconds() * (1 + self._chance()) / 2)

    async def _ask(self, kind: Kind, limit: _LeasedLimit) -> int:
        """The slots granted; 0 = none yet."""
        timeout_seconds = limit.patience.timeout_seconds
        if limit.must_read_terms:
            limit.terms = await _read_terms(self._client, self._name, kind, timeout_seconds=timeout_seconds)
            limit.must_read_terms = False
        block = limit.block()
        try:
            async with asyncio.timeout(timeout_seconds):
                answer = await self._client.increment_concurrency_slots([limit.name], block, "rate_limit")
        except httpx.HTTPStatusError as error:
            if error.response.status_code == _LOCKED:
                return 0
            raise
        if not answer.json():
            raise SetupError(_missing(self._name, kind))
        return block

    async def _wait_for_server(self, limit: _LeasedLimit, error: Exception, seconds: float) -> None:
        slow = is_slow(error)
        limit.must_read_terms = limit.must_read_terms or not slow
        wait = limit.patience.failed(seconds, slow, self._chance())
        if limit.patience.failures == _TOLD_FAILURES:
            reason = str(error) or type(error).__name__
            log.warning("limits.shared: %s can't be leased, requests wait: %s", limit.name, reason)
        await asyncio.sleep(wait)


@asynccontextmanager
async def sharing(limits: Limits) -> AsyncGenerator[Lessor | None]:
    """A lessor of the limit that a job shares; None if it shares none.

    Raises: SetupError when one of its two Prefect limits is missing or can't limit anything.
    """
    if limits.shared is None:
        yield None
        return
    async with get_client() as client:
        given: dict[Kind, int | None] = {"requests": limits.requests_per_minute, "tokens": limits.tokens_per_minute}
        yield await open_lessor(client, limits.shared, given)


async def open_lessor(client: _SlotClient, name: str, given: Mapping[Kind, int | None] | None = None) -> PrefectLessor:
    """A lessor of NAME-requests and NAME-tokens; `given` are the job's own limits, for the advice in an error.

    Raises: SetupError if one of the two is missing or isn't a rate limit.
    """
    terms: dict[Kind, _Terms] = {}
    for kind in _KINDS:
        try:
            terms[kind] = await _read_terms(client, name, kind, None if given is None else given.get(kind))
        except CALL_ERRORS as error:
            raise SetupError(
                f"the limit {_limit_name(name, kind)!r} can't be read from the Prefect server: "
                f"{type(error).__name__}: {error}. limits.shared needs it. Check PREFECT_API_URL and the server."
            ) from error
    return PrefectLessor(client, name, terms)


async def _read_terms(
    client: _SlotClient, name: str, kind: Kind, given: int | None = None, timeout_seconds: float = CALL_SECONDS
) -> _Terms:
    """What an operator has set for one of the two limits. Raises: SetupError, httpx.HTTPError, TimeoutError."""
    full = _limit_name(name, kind)
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
    return _Terms(found.limit, found.slot_decay_per_second)


def _limit_name(name: str, kind: Kind) -> str:
    """The Prefect limit of one kind."""
    return f"{name}-{kind}"


def create_command(name: str, kind: Kind, per_minute: float) -> str:
    """What an operator types to make a limit."""
    name, slots = _limit_name(name, kind), slots_of(per_minute)
    return f"prefect gcl create {name} --limit {slots} --slot-decay-per-second {per_minute / 60:.6g}"


def slots_of(per_minute: float) -> int:
    """What a limit's `limit` should be."""
    return max(2, math.ceil(_BURST_SECONDS * per_minute / 60))


def _missing(name: str, kind: Kind, given: int | None = None) -> str:
    per_minute = _EXAMPLES[kind] if given is None else given
    return (
        f"there is no Prefect limit {_limit_name(name, kind)!r}; limits.shared: {name} needs it, and the run would "
        f"otherwise go unlimited. Make it; for {per_minute:,} {kind} a minute, of which --limit is three seconds' "
        f"worth: {create_command(name, kind, per_minute)}"
    )
