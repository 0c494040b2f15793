"""Work that others did for a run: shards that other processes answered, batches that the provider answered."""

from collections.abc import Sequence
from dataclasses import dataclass

from promptmill.planning.kept import Again


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What others did for a run, as its manifest counts it. Attempts that were killed are missing: a lower bound."""

    requests: int = 0  # sent
    attempts: int = 0
    answered: int = 0  # rows
    batches: Sequence[dict[str, object]] = ()  # id, status and requests of each batch
    flow_run_ids: tuple[str, ...] = ()  # of the runs that did it
    are_chunks_recorded: bool = False  # the process that finished a chunk wrote Prefect's record of it too
    again: Again | None = None  # the failures of earlier runs that they asked for again


NOTHING_ELSEWHERE = Elsewhere()
