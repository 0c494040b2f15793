"""What happens in a round, drawn from its seed. Pure: the same seed and kinds draw the same round everywhere."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

WEIGHTS = {  # kind → how often it is drawn; the kinds that start Prefect take minutes a round, the others seconds
    "online-kill": 30,
    "online-budget": 14,  # killed too, under a cap that stops it
    "online-storage": 12,
    "online-disk": 8,
    "online-two": 5,
    "batch-kill": 24,
    "batch-budget": 6,
    "batch-storage": 9,
    "batch-disk": 5,
    "batch-two": 3,
    "online-takeover": 4,  # the first of two runs is killed, and the second goes on
    "batch-takeover": 2,
    "standalone-kill": 8,  # `promptmill run` as a person types it, without a Prefect server
    "standalone-batch-kill": 4,
    "standalone-two": 3,
    "standalone-takeover": 3,
    "command-kill": 2,  # `promptmill run`, with a Prefect server of its own
    "command-server": 2,
    "deployed-worker": 2,  # runs of a deployment
    "deployed-server": 2,
    "shards-worker": 2,
    "shards-server": 2,
    "command-storage": 1,
    "deployed-storage": 1,
    "shards-storage": 1,
}
KINDS = tuple(WEIGHTS)
SERVED = tuple(kind for kind in KINDS if kind.startswith(("command", "deployed", "shards")))
FAULTY_ATTEMPTS = 0.02  # of attempts that meet each kind of fault at the provider


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happens while a run is under way."""

    what: str  # kill | kill-group | storage | disk | two | takeover | server | worker
    at: float  # 0 = the run's start; 1 = when a run without faults ends, or when the provider has heard all of it
    by: str  # what `at` is a share of: "time" of a run, or "requests" that the provider has still to hear
    share: (
        float  # of a run's length: how long storage, disk or server are away, or when the first of two runs is killed
    )


@dataclass(frozen=True, slots=True)
class Round:
    """A job, how its provider behaves, and what happens to its runs: one fault to each."""

    seed: int
    kind: str
    rows: int
    chunk_rows: int
    checkpoint_rows: int
    chunks_in_flight: int
    max_concurrency: int
    shards: int
    latency_seconds: float
    budget_share: float | None  # of what the whole costs
    faults: tuple[Fault, ...]

    @property
    def mode(self) -> str:
        """Online or batch."""
        return "batch" if "batch" in self.kind.split("-") else "online"

    @property
    def is_command(self) -> bool:
        """Whether its runs are the user's own command without a Prefect server."""
        return self.kind.startswith("standalone")

    @property
    def repeated_at_most(self) -> int:
        """Rows that the next run may pay for again after one kill: docs/nothing-is-lost.md, "What a kill costs"."""
        if self.mode == "batch":
            return 0  # the next run finds each batch at the provider
        return (self.max_concurrency + self.checkpoint_rows * self.chunks_in_flight) * self.shards


def draw_round(seed: int, kinds: Sequence[str] = KINDS) -> Round:
    """The round of a seed. Once its kind is drawn, the other kinds no longer matter."""
    kind = random.Random(seed).choices(kinds, [WEIGHTS[name] for name in kinds])[0]
    chance = random.Random(f"{kind}/{seed}")
    is_served = kind in SERVED
    return Round(
        seed=seed,
        kind=kind,
        rows=chance.randint(60, 100) if is_served else chance.randint(20, 60),
        chunk_rows=chance.choice([5, 10, 25]),
        checkpoint_rows=chance.choice([1, 2, 4, 8]),
        chunks_in_flight=chance.choice([1, 2, 3]),
        max_concurrency=chance.choice([2, 4, 8]),
        shards=2 if kind.startswith("shards") else 1,
        latency_seconds=chance.uniform(0.2, 0.5) if is_served else chance.uniform(0.01, 0.1),
        budget_share=chance.uniform(0.3, 0.9) if kind.endswith("budget") else None,
        faults=_draw_faults(kind, chance),
    )


def _draw_faults(kind: str, chance: random.Random) -> tuple[Fault, ...]:
    cause = kind.rpartition("-")[2]
    kills = ["kill", "kill-group"]
    what = {"kill": kills, "budget": kills}.get(cause, [cause])
    count = 1 if cause in {"two", "takeover"} or kind in SERVED else chance.randint(1, 3)
    return tuple(
        Fault(chance.choice(what), chance.uniform(0, 1), chance.choice(["time", "requests"]), chance.uniform(0, 1))
        for _ in range(count)
    )
