"""Orders to a run, carried out by a process that sends for it: its pace, its places, its money, its end."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from typing import cast

from promptmill.checkpoints.answer_files import ZERO_USD
from promptmill.errors import StorageFailed
from promptmill.job.spec import Concurrency
from promptmill.limits.changing import change_rates
from promptmill.planning.prepared_job import Prepared
from promptmill.runs.beside import going_on
from promptmill.runs.engine import Engine
from promptmill.runs.money import earlier_usd, steered_budget_usd
from promptmill.runs.run_state import PendingRun
from promptmill.runs.share import Share
from promptmill.steering.listening import Listener
from promptmill.steering.order_files import OrderFiles
from promptmill.steering.orders import MAX_CONCURRENCY, Steering

_SHARED_OUT_WITHIN_SECONDS = 120.0  # a changed budget, among shards
_FROZEN_LOOK_SECONDS = 1.0


@asynccontextmanager
async def steered(run: PendingRun, engine: Engine) -> AsyncGenerator[None]:
    """While this lasts, the process hears orders and carries them out; those that there are, before the block begins.

    Raises: StorageFailed, when it can't be known whether there are any.
    """
    listener = listener_of(run)
    if listener is None:
        yield
        return
    obeying = _Obeying(run.prepared, engine, run.share, listener)
    await listener.look(obeying.obey)
    engine.client.budget.ask_for_more = obeying.look_for_money
    async with going_on(listener.listen(obeying.obey)):
        yield


def listener_of(run: PendingRun) -> Listener | None:
    """How a process hears orders to a run; None for a run that hears none."""
    if run.steered is None:
        return None
    who = run.steered.what if run.share is None else f"shard {run.share.index} of {run.steered.what}"
    return Listener(
        OrderFiles(run.prepared.store.storage), run.steered, who, None if run.share is None else run.share.index
    )


class _Obeying:
    """Carries out orders on an engine."""

    def __init__(self, prepared: Prepared, engine: Engine, share: Share | None, listener: Listener) -> None:
        self._prepared, self._engine, self._share, self._listener = prepared, engine, share, listener
        self._is_frozen = False
        self._asking, self._asked_at = asyncio.Lock(), float("-inf")

    async def obey(self, steering: Steering) -> None:
        """Make the engine what these orders want. Raises: StorageFailed, OutputError when money can't be counted."""
        engine, before = self._engine, self._engine.steering
        if steering.stop is not None:
            engine.stop.interrupt(steering.stop)
        await self._set_budget(steering, before)
        engine.steering = steering
        if (steering.pause is None) != (before.pause is None):
            engine.client.hold(steering.pause)
        self._set_limits(steering, before)

    async def look_for_money(self) -> None:
        """A last look before the budget is exhausted; while a new one is being shared out, wait for this share of it."""
        async with self._asking:  # all requests that wait for money ask at once
            if time.monotonic() - self._asked_at >= _FROZEN_LOOK_SECONDS:
                await self._look()
            until = time.monotonic() + _SHARED_OUT_WITHIN_SECONDS
            while self._is_frozen and time.monotonic() < until:
                await asyncio.sleep(_FROZEN_LOOK_SECONDS)
                await self._look()

    async def _look(self) -> None:
        with suppress(StorageFailed):
            await self._listener.look(self.obey)
        self._asked_at = time.monotonic()

    def _set_limits(self, steering: Steering, before: Steering) -> None:
        engine, part = self._engine, 1.0 if self._share is None else self._share.part
        fresh = {name: value for name, value in steering.values.items() if before.values.get(name, ...) != value}
        if MAX_CONCURRENCY in fresh:
            engine.places.change(_part_of(cast(Concurrency, fresh.pop(MAX_CONCURRENCY)), self._share), part)
        rates = {name: value for name, value in fresh.items() if name.startswith("limits.")}
        if rates:
            change_rates(
                engine.client.limiter,
                {name.removeprefix("limits."): cast(int | None, value) for name, value in rates.items()},
            )
        if steering.max_failure_ratio is not None:
            engine.progress.max_failure_ratio = steering.max_failure_ratio

    async def _set_budget(self, steering: Steering, before: Steering) -> None:
        if (steering.budget_usd, steering.shares_usd) == (before.budget_usd, before.shares_usd):
            return
        if self._share is not None:
            await self._set_share(steering, self._share)
            return
        cap_usd, budget = steered_budget_usd(self._prepared, steering), self._engine.client.budget
        if cap_usd is not None:
            earlier = ZERO_USD if budget.cap_usd is not None else await earlier_usd(self._engine.store, budget)
            budget.change_cap(cap_usd, earlier)

    async def _set_share(self, steering: Steering, share: Share) -> None:
        """Take this shard's part of a changed budget; until it is known, take nothing more."""
        budget = self._engine.client.budget
        if budget.cap_usd is None:
            return  # a run that was split without a budget can't be given one: nobody counted what its shards spend
        mine = None if steering.shares_usd is None else steering.shares_usd.get(share.spend)
        self._is_frozen = mine is None
        if mine is None:
            await budget.freeze()
        else:
            budget.change_cap(Decimal(str(mine)))


def _part_of(concurrency: Concurrency, share: Share | None) -> Concurrency:
    return concurrency if concurrency == "auto" or share is None else max(1, concurrency // share.count)
