"""Lets each shard show that it lives, so that another run sends only after all shards of the earlier run have stopped.

A run's claim says nothing about its shards: they go on if the run dies or its machine sleeps, and a run that takes over
from another Prefect server can't cancel them. So each shard renews an object of its own beside the claims, and stops as
soon as the highest claim belongs to another run. A run that has taken over waits until each such object is gone, says that
its shard has ended, belongs to this run, or has been silent for the period.
A shard writes its object and then looks at the claims. A run claims and then looks at the shards. So at least one of the
two sees the other.
"""

import secrets
from contextlib import suppress
from dataclasses import replace

from promptmill.checkpoints.lease_claims import HELPERS, Claim, Claims, Holder, Objects
from promptmill.checkpoints.output_lease import REAL_TIME, OutputLease, Timing, is_over
from promptmill.errors import LeaseLost, StorageFailed


class ShardLease(OutputLease):
    """A shard's part in its run's hold on the output. Safe to use from many threads."""

    def __init__(
        self, objects: Objects, holder: Holder, timing: Timing = REAL_TIME, claim_token: str | None = None
    ) -> None:
        """`claim_token`: the only claim that the shard works for; without it, every attempt of its flow run."""
        self._claim_token = claim_token
        token = secrets.token_hex(6)
        name = f"{HELPERS}/{token}.json"
        super().__init__(Claims(objects), name, 0, replace(holder, token=token), timing.now(), timing)

    def begin(self) -> "ShardLease":
        """Show that the shard lives, and keep showing it until `release`; returns itself. Blocks.

        Raises: LeaseLost if the shard's run doesn't hold the output; StorageFailed.
        """
        self.renew()
        self.keep()
        return self

    def release(self) -> None:
        """Let the next run go on. Blocks. If the storage is away, the next run waits for the period instead."""
        super().release()
        with suppress(StorageFailed):  # the object already says that the shard has ended
            self._claims.delete([self._name])

    def _withdraw(self) -> None:
        """Keep the object until `release`, because answers are still on their way and will be saved."""

    def _successor(self) -> Claim | None:
        standing = self._claims.highest()
        if standing is None:
            return None  # somebody deleted the claims; our run's next renewal writes its own again
        holder = standing.holder
        is_our_runs = holder is not None and not holder.is_over and self._is_our_runs(holder)
        return None if is_our_runs else standing

    def _is_our_runs(self, holder: Holder) -> bool:
        if self._claim_token is not None:
            return holder.token == self._claim_token
        return holder.run_id == self._holder.run_id

    def _loss(self) -> LeaseLost:
        return LeaseLost(
            f"the run of this shard no longer holds the output; {self._lost} held it last. This shard sends nothing more, and "
            "all answers so far are kept. Run the same command again when no other run works on the output."
        )


def forget_dead(objects: Objects, machine: str, pid: int) -> None:
    """Remove the lease object of a process that has certainly ended. Blocks. Raises: StorageFailed."""
    claims = Claims(objects)
    for name in claims.helpers():
        claim = claims.read(name, 0)
        if (
            claim is not None
            and claim.holder is not None
            and (claim.holder.machine, claim.holder.pid) == (machine, pid)
        ):
            claims.delete([name])


class Stragglers:
    """Watches shards of earlier runs for a run that has just taken the output."""

    def __init__(self, objects: Objects, us: Holder, timing: Timing = REAL_TIME) -> None:
        self._claims = Claims(objects)
        self._us = us
        self._timing = timing
        self._seen: dict[str, tuple[bytes, float]] = {}  # name → the object's bytes, and when we first read them

    def first(self) -> Claim | None:
        """A shard that may still send; None if there is none. Blocks. Raises: StorageFailed."""
        return next(iter(self.all()), None)

    def all(self) -> list[Claim]:
        """All shards that may still send, except those of this run. Blocks. Raises: StorageFailed."""
        found: list[Claim] = []
        for name in self._claims.helpers():
            claim = self._claims.read(name, 0)
            if claim is None or self._is_ours(claim):
                continue
            if is_over(claim, self._us, self._silence(claim), self._timing.is_gone):
                self._claims.delete([name])
            else:
                found.append(claim)
        return found

    def _is_ours(self, claim: Claim) -> bool:
        return claim.holder is not None and claim.holder.run_id == self._us.run_id != ""

    def _silence(self, claim: Claim) -> float:
        now = self._timing.now()
        data, since = self._seen.get(claim.name, (b"", now))
        if data != claim.data:
            since = now
            self._seen[claim.name] = claim.data, now
        return now - since
