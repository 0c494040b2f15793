"""Reads and writes the objects of `_checkpoints/orders/`: people leave orders there, and the run's processes confirm them.

    orders/run.json                     the run that hears orders, and the settings that it started with
    orders/<run>/000001-<random>.json   an order to it, never changed
    orders/<run>/heard-<random>.json    which orders a process of it has carried out

Each order has a unique name, so no order is lost if two people give orders at once, on any storage. All objects are JSON,
and we read them as data.
"""

import logging
import secrets
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AwareDatetime, Field, TypeAdapter

from promptmill.errors import SetupError, StorageFailed
from promptmill.state_files import StateFile
from promptmill.steering.orders import Name, Order, require_settable
from promptmill.storage import STORAGE_ERRORS, Storage

_FOLDER, _HEARD = "orders", "heard-"
_RUN = f"{_FOLDER}/run.json"
log = logging.getLogger("promptmill")


@dataclass(frozen=True, slots=True)
class SteeredRun:
    """The run that hears orders."""

    token: Annotated[str, Field(pattern="^[0-9a-f]{12}$")]  # random; no other run has it
    what: Name  # for people: "promptmill run", "the flow run 'x' (id)"
    mode: str  # online or batch
    shards: int
    rows: int
    started_at: AwareDatetime
    budget_usd: Decimal | None  # the settings at its start
    approved_usd: Decimal | None  # the amount that a person approved, if that is a cap
    job: dict[str, Any] = field(default_factory=dict[str, Any])  # as JSON values, with absolute paths
    seal: str = ""  # of the job (seals.py)
    flow_run_id: str = ""  # the flow run's id: its next attempt hears the same orders
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """The orders that a process of a run has carried out."""

    who: Name  # for people
    names: tuple[str, ...]  # of orders
    shard: int | None = None


_RUNS = StateFile(
    TypeAdapter(SteeredRun),
    purpose="It says which run hears orders.",
    way_on="It counts as missing: no order reaches the run; end it by Ctrl-C, or in the Prefect UI.",
    strict=False,
)
_ORDERS = StateFile(
    TypeAdapter(Order),
    purpose="It tells a run what to do.",
    way_on="The run ignores it: give the order again.",
    strict=False,
)
_HEARD_FILES = StateFile(
    TypeAdapter(Heard), purpose="It says which orders were carried out.", way_on="It counts as missing.", strict=False
)


class OrderFiles:
    """The orders of one output; `checkpoints` is its folder of stored answers. All calls block and may raise StorageFailed."""

    def __init__(self, checkpoints: Storage) -> None:
        self.storage = checkpoints

    def run(self) -> SteeredRun | None:
        """The run that hears orders, or heard them last; None if there never was one."""
        return _RUNS.read(self.storage, _RUN)

    def begin(self, run: SteeredRun) -> SteeredRun:
        """Register `run` as the run under way; returns it, or its earlier attempt, whose orders still hold."""
        before = self.run()
        if before is not None and run.flow_run_id and before.flow_run_id == run.flow_run_id and not before.is_over:
            return before
        self._write(_RUN, _RUNS.form.dump_json(run))
        return run

    def end(self, run: SteeredRun) -> None:
        """Record that a run no longer hears orders."""
        self._write(_RUN, _RUNS.form.dump_json(replace(run, is_over=True)))

    def give(self, run: SteeredRun, order: Order) -> str:
        """Write an order; returns its name."""
        numbers = [int(name.partition("-")[0]) for name in self.names(run)]
        name = f"{max(numbers, default=0) + 1:06d}-{secrets.token_hex(4)}.json"
        self._write(f"{_place(run)}/{name}", _ORDERS.form.dump_json(order))
        return name

    def names(self, run: SteeredRun) -> list[str]:
        """The orders to a run, oldest first."""
        return sorted(name for name in self._listed(run) if name.partition("-")[0].isdecimal())

    def read(self, run: SteeredRun, name: str) -> Order | None:
        """Read an order; None if it is damaged or not allowed."""
        found = _ORDERS.read(self.storage, f"{_place(run)}/{name}")
        if found is None or found.action != "set":
            return found
        try:
            return replace(found, values=require_settable(found.values, run.mode))
        except SetupError as error:
            log.warning("This run ignores a damaged order: %s", error)
            return None

    def say_heard(self, run: SteeredRun, process: str, heard: Heard) -> None:
        """Record the orders that a process has carried out."""
        self._write(f"{_place(run)}/{_HEARD}{process}.json", _HEARD_FILES.form.dump_json(heard))

    def heard(self, run: SteeredRun) -> list[Heard]:
        """The orders that each process of a run has carried out."""
        names = [name for name in self._listed(run) if name.startswith(_HEARD)]
        found = (_HEARD_FILES.read(self.storage, f"{_place(run)}/{name}") for name in sorted(names))
        return [heard for heard in found if heard is not None]

    def _listed(self, run: SteeredRun) -> Iterable[str]:
        place = _place(run)
        with self._failing():
            return [name.removeprefix(f"{place}/") for name in self.storage.sizes(place) if name.endswith(".json")]

    def _write(self, name: str, data: bytes) -> None:
        with self._failing():
            self.storage.write(name, data)

    @contextmanager
    def _failing(self) -> Generator[None]:
        try:
            yield
        except STORAGE_ERRORS as error:
            raise StorageFailed(
                f"{self.storage.shown}/{_FOLDER} can't be read or written: {self.storage.describe(error)}. Orders to a run "
                "lie there. Give access or make room, then give the order again."
            ) from error


def _place(run: SteeredRun) -> str:
    return f"{_FOLDER}/{run.token}"
