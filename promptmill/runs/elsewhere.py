"""Work that others did for a run: shards that other processes answered, batches that the provider answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from promptmill.checkpoints.deadline_record import DeadlineRecord
from promptmill.planning.kept import Again


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What others did for a run, as its manifest counts it. Attempts that were killed are missing: a lower bound."""

    requests: int = 0  # sent
    attempts: int = 0
    retries: Mapping[str, int] = field(
        default_factory=dict[str, int]
    )  # attempts that another followed, by kind of failure
    answered: int = 0  # rows
    batches: Sequence[dict[str, object]] = ()  # id, status and requests of each batch
    flow_run_ids: tuple[str, ...] = ()  # of the runs that did it
    are_chunks_recorded: bool = False  # the process that finished a chunk wrote Prefect's record of it too
    deadline: DeadlineRecord | None = None  # of the run, and what was decided to keep it
    again: Again | None = None  # the failures of earlier runs that they asked for again
    limited_by: Mapping[str, float] = field(default_factory=dict[str, float])  # limit → share of the time


NOTHING_ELSEWHERE = Elsewhere()
