"""Gives an order to the run under way on an output, and waits until its processes have carried it out."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from promptmill.checkpoints.lease_claims import Claims
from promptmill.checkpoints.output_lease import is_over
from promptmill.checkpoints.output_turn import Asking
from promptmill.errors import PromptmillError, SetupError
from promptmill.processes import is_gone
from promptmill.steering.order_files import Heard, OrderFiles, SteeredRun
from promptmill.steering.orders import BUDGET_USD, Action, Order, Steering, Value, add_up, require_settable
from promptmill.storage import Storage

_HEARD_WITHIN_SECONDS = 20.0
_LOOK_SECONDS = 0.5
_DONE = {
    "pause": "sends nothing new; what is on its way ends and is kept",
    "resume": "goes on",
    "set": "keeps to it",
    "stop": "ends: it keeps what arrives within ten seconds",
}


@dataclass(frozen=True, slots=True)
class Given:
    """An order that lies on storage for a run."""

    run: SteeredRun
    order: Order
    name: str | None  # None: the order would change nothing
    note: str = ""  # a sentence about the consequences
    is_at_work: bool = True  # False: the next step of advance-batches hears the order

    @property
    def is_awaited(self) -> bool:
        """Whether a process should confirm that it heard the order."""
        return self.name is not None and self.is_at_work


class NotHeard(PromptmillError):
    """No process confirmed that it heard an order."""


def give_order(checkpoints: Storage, action: Action, by: str, values: Mapping[str, object] | None = None) -> Given:
    """Give an order to the run under way on an output. Blocks.

    Raises: SetupError if no run is under way or if the run can't take this order; StorageFailed.
    """
    files = OrderFiles(checkpoints)
    run, is_at_work = _under_way(files, checkpoints)
    told = told_so_far(files, run)
    if told.stopped is not None:
        raise SetupError(
            f"{run.what} is ending: {told.stopped}. Once it has ended, run the job's command again to go on."
        )
    checked = require_settable(values or {}, run.mode) if action == "set" else {}
    note = _require_money(run, checked)
    order = Order(action, by, datetime.now(UTC), checked)
    if action == ("resume" if told.paused is None else "pause"):
        note = "It isn't paused." if told.paused is None else f"It is {told.pause}."
        return Given(run, order, None, note)
    return Given(run, order, files.give(run, order), note, is_at_work)


def wait_until_heard(
    checkpoints: Storage,
    given: Given,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> list[Heard]:
    """Wait until all processes of the run have carried out an order, or time is up; returns those that have. Blocks."""
    files, until = OrderFiles(checkpoints), now() + _HEARD_WITHIN_SECONDS
    wanted = 1 + len(Claims(checkpoints).helpers())  # shards, in addition to the process that holds the output
    while True:
        heard = [one for one in files.heard(given.run) if given.name in one.names]
        is_answered = len(heard) >= wanted or (heard and given.order.action == "stop")
        if is_answered or now() >= until or _has_ended(files, given.run):
            return heard
        sleep(_LOOK_SECONDS)


def describe(given: Given, heard: list[Heard]) -> str:
    """The result of an order, in words."""
    if given.name is None:
        return f"{given.run.what}: {given.note}"
    note = f" {given.note}" if given.note else ""
    if not given.is_at_work:
        return f"{given.order.what}: the next step of advance-batches hears it.{note}"
    if not heard:
        return (
            f"{given.order.what}: {given.run.what} hasn't said within {_HEARD_WITHIN_SECONDS:.0f} s that it heard it. It has "
            "ended meanwhile, its process is gone, or it can't reach its storage; if it goes on, it hears the order then."
        )
    shards = sum(one.shard is not None for one in heard)
    also = f" and {shards} processes that work for it have" if shards else " has"
    return f"{given.order.what}: {given.run.what}{also} heard it and {_DONE[given.order.action]}.{note}"


def order_values(given: Given, heard: Sequence[Heard]) -> dict[str, Any]:
    """The result of an order, as JSON values."""
    return {
        "run": given.run.what,
        "order": given.order.what,
        "by": given.order.by,
        "at": given.order.at.isoformat(),
        "heard_by": [one.who for one in heard],
    }


def _has_ended(files: OrderFiles, run: SteeredRun) -> bool:
    found = files.run()
    return found is None or found.is_over or found.token != run.token


def is_held(checkpoints: Storage) -> bool:
    """Whether a process holds the output, as far as we can know. Blocks. Raises: StorageFailed."""
    claim = Claims(checkpoints).highest()
    return claim is not None and not is_over(claim, Asking("").holder(), 0.0, is_gone)


def _under_way(files: OrderFiles, checkpoints: Storage) -> tuple[SteeredRun, bool]:
    """The run under way, and whether a process is at work for it. Raises: SetupError, StorageFailed."""
    run, ended = files.run(), not is_held(checkpoints)
    if run is None or run.is_over or (ended and run.mode == "online"):
        last = "" if run is None else f" The last one, {run.what} of {run.started_at:%Y-%m-%d %H:%M} UTC, has ended."
        raise SetupError(
            f"no run is under way on {checkpoints.shown.removesuffix('/_checkpoints')}.{last} An order belongs to a run; start "
            "the job first, or name the output of the run that you mean."
        )
    return run, not ended


def told_so_far(files: OrderFiles, run: SteeredRun) -> Steering:
    """All orders to a run so far, added up. Blocks. Raises: StorageFailed."""
    found = (files.read(run, name) for name in files.names(run))
    return add_up(order for order in found if order is not None)


def _require_money(run: SteeredRun, values: Mapping[str, Value]) -> str:
    """The note about a changed budget. Raises: SetupError if the budget can't be set to this."""
    if BUDGET_USD not in values:
        return ""
    wanted = Decimal(str(values[BUDGET_USD]))
    if run.approved_usd is not None and wanted > run.approved_usd:
        raise SetupError(
            f"budget_usd can't be {wanted}: a person approved ${run.approved_usd} for this output, and no order goes beyond "
            "that. Have more approved by a new run (`promptmill run --approve` lifts the amount)."
        )
    if run.shards > 1 and run.budget_usd is None:
        raise SetupError(
            "budget_usd can't be set: the run was split into shards without a budget, or into processes, and nobody counts "
            "what they spend together. Stop it, give the job a budget_usd and run it again: what was answered is kept."
        )
    return "It holds until this run ends; the next one goes by the job's own budget_usd."
