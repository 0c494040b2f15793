"""Takes the lease of an output: at once, or after a wait that names the other run, or not at all."""

import asyncio
import logging
import os
import platform
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import anyio

from promptmill.checkpoints.lease_claims import Claim, Claims, Holder, Objects
from promptmill.checkpoints.output_lease import PERIOD_SECONDS, REAL_TIME, Contender, OutputLease, Timing, is_over
from promptmill.checkpoints.shard_lease import Stragglers
from promptmill.errors import OutputInUse, StorageFailed
from promptmill.processes import this_machine
from promptmill.public_url import public_url

_LOOK_SECONDS = 2.0  # between two looks at another run's claim, on average
_FAILURES_AT_MOST = 30  # failed looks in a row that a waiting run accepts from its storage
log = logging.getLogger("promptmill")


@dataclass(frozen=True, slots=True)
class Asking:
    """How a run asks for its output."""

    what: str  # for people: "promptmill.run in a notebook", "the flow run 'x' (id)"
    wait: bool = True  # whether to wait for another run; False: raise OutputInUse instead
    run_id: str = ""  # the flow run's id
    tell: Callable[[str], None] = log.warning  # gets the name of the run that this one waits for

    def holder(self) -> Holder:
        """The content of the run's claim."""
        return Holder("", self.what, platform.node(), this_machine(), os.getpid(), datetime.now(UTC), self.run_id)


@dataclass(frozen=True, slots=True)
class Turn:
    """An output that a run holds."""

    lease: OutputLease
    has_waited: bool  # another run may have changed the folder meanwhile


async def take_turn_at(
    objects: Objects,
    asking: Asking,
    timing: Timing = REAL_TIME,
    end_shards: Callable[[], Awaitable[None]] | None = None,
) -> Turn:
    """The lease of an output, renewed from now on; release it (`releasing`).

    If an earlier run left shards at work, `end_shards` ends those that it can, and this waits until none sends.

    Raises: OutputInUse when another run works on the output and the run was told not to wait; StorageFailed.
    """
    contender = Contender(objects, asking.holder(), timing)
    told, failures = set[str](), 0
    while True:
        try:
            lease = await _attempt_to_its_end(contender)
        except StorageFailed:
            failures += 1
            if not told or failures > _FAILURES_AT_MOST:
                raise
        else:
            failures = 0
            if lease is not None:
                stragglers = Stragglers(objects, asking.holder(), timing)
                async with _releasing_on_error(lease):
                    if end_shards is not None and await asyncio.to_thread(stragglers.first) is not None:
                        await end_shards()
                    await _outlast_shards(stragglers, lease, objects.url, asking, told)
                return Turn(lease, has_waited=bool(told))
            _wait_or_refuse(objects.url, contender.in_the_way, asking, told)
        await asyncio.sleep(_LOOK_SECONDS * (0.5 + random.random()))


async def _outlast_shards(
    stragglers: Stragglers, lease: OutputLease, place: str, asking: Asking, told: set[str]
) -> None:
    """Wait until no shard of an earlier run sends. Each shard sees the new claim at its next renewal.

    Raises: OutputInUse; StorageFailed; LeaseLost.
    """
    while (shard := await asyncio.to_thread(stragglers.first)) is not None:
        _wait_or_refuse(place, shard, asking, told)
        await asyncio.sleep(_LOOK_SECONDS * (0.5 + random.random()))
        await lease.confirm()


@asynccontextmanager
async def _releasing_on_error(lease: OutputLease) -> AsyncGenerator[None]:
    try:
        yield
    except BaseException:
        with anyio.CancelScope(shield=True):
            await asyncio.to_thread(lease.release)
        raise


def _wait_or_refuse(place: str, claim: Claim | None, asking: Asking, told: set[str]) -> None:
    if claim is None:
        return  # another process removed it
    if not asking.wait:
        raise OutputInUse(_describe_use(claim, place))
    token = "" if claim.holder is None else claim.holder.token
    if token not in told:
        told.add(token)
        asking.tell(
            f"Waiting for {claim}, which works on the same output ({public_url(place)}). This run goes on when that "
            f"one has ended, or has been silent for {PERIOD_SECONDS:.0f} s; Ctrl-C ends the wait."
        )


def refuse_to_wait(objects: Objects, timing: Timing = REAL_TIME) -> None:
    """Look before the run begins. Blocks. Raises: OutputInUse if another run works on the output; StorageFailed."""
    standing = Claims(objects).highest()
    if standing is not None and not is_over(standing, Asking("").holder(), 0.0, timing.is_gone):
        raise OutputInUse(_describe_use(standing, objects.url))


def _describe_use(claim: Claim, place: str) -> str:
    return (
        f"{claim} works on the same output ({public_url(place)}), and one run at a time may, so that no row is paid "
        "for twice. Let it finish or end it, then run again; without --no-wait (wait=False in Python) this run "
        f"would wait for it. If its machine is gone, a run that waits takes over after {PERIOD_SECONDS:.0f} s."
    )


async def _attempt_to_its_end(contender: Contender) -> OutputLease | None:
    """One attempt to take the lease. If it is cancelled midway, it leaves no claim behind."""
    attempt = asyncio.create_task(asyncio.to_thread(_attempt_and_keep, contender))
    try:
        return await asyncio.shield(attempt)
    except asyncio.CancelledError:
        with anyio.CancelScope(shield=True), suppress(StorageFailed):
            if (lease := await attempt) is not None:
                await asyncio.to_thread(lease.release)
        raise


def _attempt_and_keep(contender: Contender) -> OutputLease | None:
    lease = contender.attempt()
    if lease is not None:
        lease.keep()
    return lease


@asynccontextmanager
async def releasing(turn: Turn) -> AsyncGenerator[OutputLease]:
    """Hold the lease until the block ends in any way, then release it."""
    try:
        yield turn.lease
    finally:
        with anyio.CancelScope(shield=True):  # Prefect's scopes cancel again and again
            await asyncio.to_thread(turn.lease.release)
