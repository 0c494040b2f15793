"""Carries out orders to a run in shards. The shards obey them; the split run hears a stop, and divides a changed budget.

If an order changes the budget, the shards get new shares of it and together never pass it: a shard that hears the order
takes no more than it has spent and reserved, and records that. When all shards at work have done so, the run divides the
rest of the new budget. Nothing else is spent meanwhile.
"""

import asyncio
import logging
from collections.abc import Collection, Coroutine, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol

from promptmill.checkpoints.lease_claims import Claims
from promptmill.checkpoints.spend import SpendRecords
from promptmill.errors import PromptmillError, RunStopped
from promptmill.runs.money import steered_budget_usd
from promptmill.runs.run import PendingRun
from promptmill.runs.steered import listener_of
from promptmill.sharding.folder import ShardFolder
from promptmill.sharding.plan import ShardPlan, split_money
from promptmill.steering.listening import LOOK_SECONDS, Listener
from promptmill.steering.order_files import Heard
from promptmill.steering.orders import BUDGET_USD, Order, Steering, Value

log = logging.getLogger("promptmill")


class Followed(Protocol):
    """The shards of a run that supervises them."""

    steering: Steering  # the orders since the run began

    @property
    def done(self) -> Collection[int]:
        """The shards that are done."""
        ...


async def while_steered(
    run: PendingRun, following: Followed, folder: ShardFolder, plan: ShardPlan, work: Coroutine[Any, Any, None]
) -> None:
    """Do work that sends nothing itself, until it ends or somebody stops the run. Raises: StoppedByOrder."""
    listener = listener_of(run)
    task = asyncio.create_task(work)
    try:
        while listener is not None and not task.done():
            await _look(run, listener, following, folder, plan)
            if listener.steering.stop is not None:
                raise listener.steering.stop
            await asyncio.wait([task], timeout=LOOK_SECONDS)
        await task
    except RunStopped:  # a shard heard the order to stop first; the manifest lists it all the same
        if listener is not None:
            await _look(run, listener, following, folder, plan)
        raise
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _look(run: PendingRun, listener: Listener, following: Followed, folder: ShardFolder, plan: ShardPlan) -> None:
    async def obey(steering: Steering) -> None:
        following.steering = steering

    try:
        await listener.look(obey)
        await asyncio.to_thread(share_out, run, listener, folder, plan, following.done)
    except PromptmillError as error:  # the next look asks again
        log.warning("%s", error)


def _are_frozen(heard: Collection[Heard], name: str, at_work: int) -> bool:
    """Whether every shard at work has heard an order that changes the budget. Pure."""
    shards = {one.shard for one in heard if one.shard is not None and name in one.names}
    return len(shards) >= at_work


def shares_of(left_usd: Decimal, granted_usd: Mapping[str, Decimal], weights: list[int]) -> dict[str, Value]:
    """What each shard may take in all: what it took so far, and its part of the rest, by its work. Pure."""
    parts = split_money(max(Decimal(0), left_usd), weights)
    return {record: str(granted + part) for (record, granted), part in zip(granted_usd.items(), parts, strict=True)}


def share_out(run: PendingRun, listener: Listener, folder: ShardFolder, plan: ShardPlan, done: Collection[int]) -> None:
    """Divide a changed budget among the shards that aren't `done`, after they all stopped taking from the old one.

    Blocks. Raises: StorageFailed; OutputError if a record of what was spent is damaged.
    """
    steering, files = listener.steering, listener.files
    budget_usd, name = steered_budget_usd(run.prepared, steering), listener.last_budget_order
    names = [folder.share(plan, shard).spend for shard in range(len(plan.bounds))]
    if name is None or budget_usd is None or plan.budgets_usd[0] is None or not _is_due(steering, names):
        return
    at_work = len(Claims(files.storage).helpers())
    if not _are_frozen(files.heard(listener.run), name, at_work):
        return
    store = run.prepared.store
    listing, records = store.listing(), SpendRecords(store)
    granted = {record: records.read(record) for record in names}
    weights = [
        0
        if shard in done
        else sum(chunk.rows for chunk in plan.chunks[first:stop] if not listing.is_finished(chunk.key))
        for shard, (first, stop) in enumerate(plan.bounds)
    ]
    shares = shares_of(budget_usd - records.recorded(listing), granted, weights)
    shares[BUDGET_USD] = steering.values[BUDGET_USD]  # the budget that was divided
    files.give(listener.run, Order("share", "the run", datetime.now(UTC), shares))


def _is_due(steering: Steering, records: Collection[str]) -> bool:
    """Whether the budget still has to be divided: an earlier split of the run had other shards, with other records."""
    shared = {} if steering.shares_usd is None else steering.shares_usd
    return steering.stopped is None and not all(record in shared for record in records)
