"""Reads and writes the objects by which a run and its shards talk to each other, beside the checkpoints.

    shards/<run>/plan.json             job, chunks and bounds, written once by the run that splits
    shards/<run>/outcome-<shard>-<attempt>.json   how an attempt at a shard ended
    shards/<run>/begun-<shard>-<attempt>   earlier attempts have lost this shard, however late they start
    shards/<run>/spend-<shard>.json    what a shard may have spent, if the job has a budget (checkpoints/spend.py)
    shards/<run>/pulse                 changes while the run lives, for shards that nothing else can end

A shard reads its chunks from an object and not from flow parameters: a plan may be megabytes, and a Prefect server on
PostgreSQL loses the order of a parameter's keys, so the same job would send other requests.
All objects are JSON. We read them as data: they hold no code, and we never unpickle them.
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
        """The id of the flow run that split its dataset; its lease on the output has the same id."""
        return run_id_of(self.name)

    def lease_name(self, shard: int) -> str:
        """The name of a shard on its lease (checkpoints/shard_lease.py)."""
        return lease_name(self.run_id, shard)

    @property
    def plan_url(self) -> str:
        """The URL that a shard gets."""
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
        """The plan; None if there is none, or if it isn't ours. Raises: StorageFailed."""
        return _PLAN_FILE.read(self.storage, self._path(_PLAN))

    def has_plan(self) -> bool:
        """Whether a plan exists, even a damaged one, so that shards may be at work. Raises: StorageFailed."""
        return self._read(_PLAN) is not None

    def share(self, plan: ShardPlan, shard: int) -> Share:
        """The record of what a shard may have spent."""
        first, stop = plan.bounds[shard]
        spend = self._path(f"spend-{shard}.json")
        return Share(shard, len(plan.bounds), first, stop, plan.budgets_usd[shard], spend)

    def write_outcome(self, shard: int, attempt: int, outcome: Outcome) -> None:
        """Raises: StorageFailed."""
        self._write(f"outcome-{shard}-{attempt}.json", orjson.dumps(outcome_values(outcome)))

    def read_outcome(self, shard: int, attempt: int) -> Outcome | None:
        """The outcome of an attempt; None if there is none, or if it isn't ours. Raises: StorageFailed."""
        stored = _OUTCOME_FILE.read(self.storage, self._path(f"outcome-{shard}-{attempt}.json"))
        return None if stored is None else stored.outcome()

    def begin_attempt(self, shard: int, attempt: int) -> None:
        """Record that this attempt works on a shard, and that earlier attempts have lost it. Raises: StorageFailed."""
        self._write(f"begun-{shard}-{attempt}", b"")

    def has_later_attempt(self, shard: int, attempt: int) -> bool:
        """Whether a later attempt has taken the shard from this one. Raises: StorageFailed."""
        return self._read(f"begun-{shard}-{attempt + 1}") is not None

    def beat(self, number: int) -> None:
        """Show that the run lives. Raises: StorageFailed."""
        self._write(_PULSE, str(number).encode())

    def pulse(self) -> bytes | None:
        """The run's pulse, which changes while the run lives; None after it has ended. Raises: StorageFailed."""
        return self._read(_PULSE)

    def stop_beating(self) -> None:
        """Tell the shards to end. Raises: any of STORAGE_ERRORS."""
        self.storage.delete([self._path(_PULSE)])

    def remove(self) -> None:
        """Remove the shards' objects, except their spend records, which stay until counted. Raises: any of STORAGE_ERRORS."""
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
                "Shards read their work there. Give access or make room, then run the same command again: all answers "
                "so far are kept."
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
    """The name of the folder in a plan's URL; None if the URL isn't a plan's."""
    parts = PurePosixPath(plan_url).parts
    return parts[-2] if len(parts) > 2 and parts[-1] == _PLAN else None


def run_id_of(name: str) -> str:
    """The id of the flow run whose folder has this name."""
    return name.rpartition("-")[0] or name


def lease_name(run_id: str, shard: int) -> str:
    """The name of a flow run's shard on its lease."""
    return f"shard {shard} of the flow run {run_id}"


def folders(store: Store) -> list[ShardFolder]:
    """The folders of split runs that haven't cleaned up. Raises: any of STORAGE_ERRORS."""
    names = {name.split("/")[1] for name in store.storage.sizes(SHARDS)}
    return [ShardFolder(store, name) for name in sorted(names)]
