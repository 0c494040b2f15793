"""The objects by which a run and its shards hear of each other, beside the checkpoints.

    shards/<run>/plan.json             job, chunks and bounds, written once by the run that splits
    shards/<run>/outcome-<shard>-<attempt>.json   how an attempt at a shard ended
    shards/<run>/begun-<shard>-<attempt>   attempts before it at that shard have lost it, however late they start
    shards/<run>/spend-<shard>.json    what a shard may have spent, where the job has a budget (store.py)
    shards/<run>/pulse                 changes while the run lives, for shards that nobody could end otherwise

A shard is told its chunks by an object and not by flow parameters: a plan may be megabytes, and a Prefect server on
PostgreSQL loses the order of a parameter's keys, by which the same job would ask other requests.
All objects are JSON and read as data: they hold no code and are never unpickled.
"""

from pathlib import PurePosixPath

import orjson
from pydantic import TypeAdapter

from promptmill.checkpoints.spend import SHARDS
from promptmill.checkpoints.store import Store
from promptmill.errors import StorageFailed
from promptmill.runs.share import Share
from promptmill.sharding.outcome_record import StoredOutcome, outcome_values
from promptmill.sharding.plan import Outcome, ShardPlan
from promptmill.state_files import StateFile
from promptmill.storage import STORAGE_ERRORS, Storage

_PLAN, _PULSE = "plan.json", "pulse"
_PLANS: TypeAdapter[ShardPlan] = TypeAdapter(ShardPlan)


_PLAN_FILE = StateFile(
    _PLANS,
    purpose="It tells shards their part of a run.",
    way_on="It counts as missing: run the job again, which splits the work again.",
    strict=False,
)
_OUTCOME_FILE = StateFile(
    TypeAdapter(StoredOutcome),
    purpose="It tells how a shard ended.",
    way_on="It counts as missing: the shard is tried again, and its answers are kept.",
)


class ShardFolder:
    """The objects of one run's shards. All calls block."""

    def __init__(self, store: Store, name: str) -> None:
        self.storage = store.storage
        self.name = name

    @property
    def run_id(self) -> str:
        """The flow run that split its dataset, as its hold on the output names it (coordinator.py names the folder)."""
        return run_id_of(self.name)

    def lease_name(self, shard: int) -> str:
        """How a shard calls itself where it shows that it lives (checkpoints/shard_lease.py)."""
        return lease_name(self.run_id, shard)

    @property
    def plan_url(self) -> str:
        """What a shard is told."""
        return str(self.storage.fs.unstrip_protocol(self.storage.path(self._path(_PLAN))))

    @staticmethod
    def at(plan_url: str) -> "ShardFolder":
        """The folder of a plan."""
        name = PurePosixPath(plan_url).parts[-2]
        root = plan_url.removesuffix(f"/{SHARDS}/{name}/{_PLAN}")
        return ShardFolder(Store(Storage(root, "plan_url")), name)

    def write_plan(self, plan: ShardPlan) -> None:
        """Raises: StorageFailed."""
        self._write(_PLAN, _PLANS.dump_json(plan))

    def read_plan(self) -> ShardPlan | None:
        """None where there is none, or one that isn't ours. Raises: StorageFailed."""
        return _PLAN_FILE.read(self.storage, self._path(_PLAN))

    def has_plan(self) -> bool:
        """Whether shards were told of work, be the plan damaged by now: they may be at it. Raises: StorageFailed."""
        return self._read(_PLAN) is not None

    def share(self, plan: ShardPlan, shard: int) -> Share:
        """What a shard takes on."""
        first, stop = plan.bounds[shard]
        spend = self._path(f"spend-{shard}.json")
        return Share(shard, len(plan.bounds), first, stop, plan.budgets_usd[shard], spend)

    def write_outcome(self, shard: int, attempt: int, outcome: Outcome) -> None:
        """Raises: StorageFailed."""
        self._write(f"outcome-{shard}-{attempt}.json", orjson.dumps(outcome_values(outcome)))

    def read_outcome(self, shard: int, attempt: int) -> Outcome | None:
        """None where the attempt left none, or something that isn't ours. Raises: StorageFailed."""
        stored = _OUTCOME_FILE.read(self.storage, self._path(f"outcome-{shard}-{attempt}.json"))
        return None if stored is None else stored.outcome()

    def begin_attempt(self, shard: int, attempt: int) -> None:
        """Say that this attempt is at a shard, and none before it. Raises: StorageFailed."""
        self._write(f"begun-{shard}-{attempt}", b"")

    def has_later_attempt(self, shard: int, attempt: int) -> bool:
        """Whether a shard was lost to the attempt after this one. Raises: StorageFailed."""
        return self._read(f"begun-{shard}-{attempt + 1}") is not None

    def beat(self, number: int) -> None:
        """Show that the run lives. Raises: StorageFailed."""
        self._write(_PULSE, str(number).encode())

    def pulse(self) -> bytes | None:
        """What changes while the run lives; None once it has ended. Raises: StorageFailed."""
        return self._read(_PULSE)

    def stop_beating(self) -> None:
        """Tell the shards to end. Raises: any of STORAGE_ERRORS."""
        self.storage.delete([self._path(_PULSE)])

    def remove(self) -> None:
        """Forget the shards; what they spent stays until it is counted elsewhere. Raises: any of STORAGE_ERRORS."""
        names = self.storage.sizes(self._path("")[:-1])
        self.storage.delete(name for name in names if "/spend-" not in name)

    def _path(self, name: str) -> str:
        return f"{SHARDS}/{self.name}/{name}"

    def _write(self, name: str, data: bytes) -> None:
        try:
            self.storage.write(self._path(name), data)
        except STORAGE_ERRORS as error:
            raise StorageFailed(
                f"{self.storage.shown}/{self._path(name)} can't be written: {self.storage.describe(error)}. "
                "Shards are told of their work there. Give access or make room, then run the same command again: what "
                "was answered is kept."
            ) from error

    def _read(self, name: str) -> bytes | None:
        try:
            return self.storage.read(self._path(name))
        except FileNotFoundError:
            return None
        except STORAGE_ERRORS as error:
            raise StorageFailed(
                f"{self.storage.shown}/{self._path(name)} can't be read: {self.storage.describe(error)}. Run the "
                "same command again: what was answered is kept."
            ) from error


def folder_name(plan_url: str) -> str | None:
    """The name of the folder of a plan; None where the URL is none of a plan."""
    parts = PurePosixPath(plan_url).parts
    return parts[-2] if len(parts) > 2 and parts[-1] == _PLAN else None


def run_id_of(name: str) -> str:
    """The flow run whose folder has this name."""
    return name.rpartition("-")[0] or name


def lease_name(run_id: str, shard: int) -> str:
    """How a shard of a flow run calls itself on its lease."""
    return f"shard {shard} of the flow run {run_id}"


def folders(store: Store) -> list[ShardFolder]:
    """Of runs that were split and haven't cleaned up. Raises: any of STORAGE_ERRORS."""
    names = {name.split("/")[1] for name in store.storage.sizes(SHARDS)}
    return [ShardFolder(store, name) for name in sorted(names)]
