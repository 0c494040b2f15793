"""Lets only one run at a time work on an output: the run renews a lease, and another takes over if it falls silent.

No two clocks are compared: a waiting run watches whether the claim changes, and measures the silence by its own steady
clock. So machines agree even if their clocks are hours apart. The holder may send for
VALID_SECONDS from the moment at which it *began* to write its last renewal; a run that waits takes over PERIOD_SECONDS after
it *first saw* that renewal, which is later by any clock. The difference is what two clocks may drift apart in a minute.

A renewal counts once the listing after it shows no higher number, and a take-over once the old claim, read after the new
one was created, hasn't changed: whatever the order of these four steps, at least one of the two runs sees the other.
docs/decisions/0010-one-lease-an-output.md has the proof and what was measured.
"""

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from promptmill.checkpoints.lease_claims import Claim, Claims, Holder, Objects
from promptmill.errors import LeaseLost, StorageFailed
from promptmill.processes import is_gone

PERIOD_SECONDS = 60.0  # another run takes over after this much silence
VALID_SECONDS = 45.0  # counted from the start of a renewal; the run may send for this long
RENEW_SECONDS = 15.0
_RETRY_SECONDS = 3.0  # until we try a failed renewal again
_SETTLE_SECONDS = 3.0  # for a listing to show a new claim, if the storage can't create an object only once
log = logging.getLogger("promptmill")


def _steady_seconds() -> float:
    """Seconds that also pass while this machine is suspended (time.monotonic stands still then)."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True, slots=True)
class Timing:
    """The clock; tests have their own."""

    now: Callable[[], float] = _steady_seconds
    sleep: Callable[[float], None] = time.sleep
    is_gone: Callable[[str, int], bool] = is_gone  # (machine, pid)


REAL_TIME = Timing()


def is_over(claim: Claim, us: Holder, silent_seconds: float, is_gone: Callable[[str, int], bool]) -> bool:
    """Whether a claim no longer holds the output."""
    holder = claim.holder
    if silent_seconds >= PERIOD_SECONDS:
        return True
    if holder is None:
        return False
    is_our_run = holder.run_id != "" and holder.run_id == us.run_id
    return holder.is_over or is_our_run or is_gone(holder.machine, holder.pid)


class Contender:
    """A run that wants an output. It asks again and again, and remembers how long the holder has been silent."""

    def __init__(self, objects: Objects, holder: Holder, timing: Timing = REAL_TIME) -> None:
        self.in_the_way: Claim | None = None  # met by the last attempt; None: it disappeared before we read it
        self._claims = Claims(objects)
        self._holder = holder
        self._timing = timing
        self._seen: tuple[bytes, float] | None = None  # the claim's bytes, and when we first read them
        self._is_shared: bool | None = None  # whether all runs use the same name for a claim's number

    def attempt(self) -> "OutputLease | None":
        """The lease, or None while another run holds the output. Blocks. Raises: StorageFailed."""
        if self._is_shared is None:
            self._is_shared = self._claims.creates_once()
        standing = self._claims.highest()
        if standing is not None and not is_over(standing, self._holder, self._silence(standing), self._timing.is_gone):
            self.in_the_way = standing
            return None
        return self._claim_after(standing, self._is_shared)

    def _silence(self, standing: Claim) -> float:
        """The seconds for which a claim hasn't changed, at least."""
        now = self._timing.now()
        if self._seen is None or self._seen[0] != standing.data:
            self._seen = (standing.data, now)
        return now - self._seen[1]

    def _claim_after(self, standing: Claim | None, is_shared: bool) -> "OutputLease | None":
        number = 1 if standing is None else standing.number + 1
        holder = replace(self._holder, token=secrets.token_hex(6))
        name = self._claims.name_of(number, holder.token, is_shared)
        began = self._timing.now()
        if not self._claims.create(name, holder):
            self.in_the_way = self._claims.read(name, number)
            return None
        if not is_shared:
            self._timing.sleep(_SETTLE_SECONDS)
        try:
            if (rival := self._rival(name, number, standing)) is not None:
                self._claims.delete([name])
                self.in_the_way = rival
                return None
            with suppress(StorageFailed):  # litter
                self._claims.delete([other for other, its in self._claims.numbers().items() if its < number])
        except StorageFailed:
            with suppress(StorageFailed):
                self._claims.delete([name])
            raise
        return OutputLease(self._claims, name, number, holder, began, self._timing)

    def _rival(self, name: str, number: int, standing: Claim | None) -> Claim | None:
        """The claim that still holds the output, read after ours became visible to all."""
        for other, its in self._claims.numbers().items():
            if its >= number and other != name and (rival := self._claims.read(other, its)) is not None:
                return rival
        if standing is None:
            return None
        again = self._claims.read(standing.name, standing.number)
        return again if again is not None and again.data != standing.data else None


class OutputLease:
    """A held output. Safe to use from many threads."""

    def __init__(
        self, claims: Claims, name: str, number: int, holder: Holder, began: float, timing: Timing = REAL_TIME
    ) -> None:
        self.number = number
        self._claims = claims
        self._name = name
        self._holder = holder
        self._timing = timing
        self._valid_until = began + VALID_SECONDS
        self._lost: str | None = None  # to whom
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self._keeper: threading.Thread | None = None

    @property
    def token(self) -> str:
        """The random token of this claim."""
        return self._holder.token

    @property
    def is_valid(self) -> bool:
        """Whether nobody else can hold the output now."""
        return self._lost is None and self._timing.now() < self._valid_until

    def require(self) -> None:
        """Return if this run holds the output. If the lease ran out, as on a suspended machine, renew it first. Blocks.

        Raises: LeaseLost if another run has taken over or if the lease can't be renewed.
        """
        if self.is_valid:
            return
        try:
            self.renew()
        except StorageFailed as error:
            raise LeaseLost(
                f"this run could not renew its hold on the output for {VALID_SECONDS:.0f} s, so another run may take over: "
                f"{error} It sends nothing until it has renewed the hold; all answers so far are kept."
            ) from error
        if not self.is_valid:
            raise self._loss()

    async def confirm(self) -> None:
        """As `require`, without blocking; costs nothing while the lease is valid. Raises: LeaseLost."""
        if not self.is_valid:
            await asyncio.to_thread(self.require)

    def renew(self) -> None:
        """Show that the run lives. Blocks. Raises: LeaseLost, StorageFailed."""
        with self._writing:
            if self._lost is not None:
                raise self._loss()
            self._holder = replace(self._holder, beat=self._holder.beat + 1)
            began = self._timing.now()
            self._claims.write(self._name, self._holder)
            if (successor := self._successor()) is None:
                self._valid_until = began + VALID_SECONDS
                return
            self._lost = str(successor)
            self._withdraw()
            raise self._loss()

    def _withdraw(self) -> None:
        """Remove our claim; the run that took over may have removed it already."""
        with suppress(StorageFailed):
            self._claims.delete([self._name])

    def _successor(self) -> Claim | None:
        """The claim of the other run that holds the output."""
        higher = {name: number for name, number in self._claims.numbers().items() if number > self.number}
        if not higher:
            return None
        name, number = max(higher.items(), key=lambda item: item[1])
        return self._claims.read(name, number) or Claim(name, number, b"", None)

    def keep(self) -> None:
        """Renew from a separate thread until `release`, since an event loop may be busy for longer than a lease is valid."""
        self._keeper = threading.Thread(target=self._renew_again_and_again, name="output-lease", daemon=True)
        self._keeper.start()

    def release(self) -> None:
        """Free the output for the next run. Blocks. If the storage is away, the lease just runs out."""
        self._ended.set()
        if self._keeper is not None:
            self._keeper.join()
        with self._writing:
            if self._lost is not None:
                return
            self._lost = "nobody: this run has released it"
            try:
                self._claims.write(self._name, replace(self._holder, beat=self._holder.beat + 1, is_over=True))
            except StorageFailed as error:
                log.warning("The next run waits up to %.0f s, since %s", PERIOD_SECONDS, error)

    def _renew_again_and_again(self) -> None:
        wait = RENEW_SECONDS
        while not self._ended.wait(wait):
            try:
                self.renew()
                wait = RENEW_SECONDS
            except LeaseLost as error:
                log.warning("This process stops sending: %s", error)
                return
            except StorageFailed as error:
                log.warning("%s", error)
                wait = _RETRY_SECONDS

    def _loss(self) -> LeaseLost:
        return LeaseLost(
            f"the output was taken over by {self._lost}, after this process had been silent for {PERIOD_SECONDS:.0f} s. "
            "Nothing more is sent, and all that was answered is kept. Let that run finish, or end it and run the same "
            "command again."
        )
