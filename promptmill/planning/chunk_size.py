"""How many rows a chunk has: as many as about a minute answers, where the job doesn't say. Pure.

A chunk is one Prefect task run and one checkpoint. So chunks that take seconds burden the server, and of ten million rows
there should be 5,000 chunks at most. What a chunk holds in memory, its rows and its requests, bounds it from above.
"""

import math
from dataclasses import dataclass

USUAL_ROWS = 500  # where nothing tells how fast rows are answered; what all jobs had before there was chunk_seconds
_USUAL_CHUNKS, _MOST_USUAL_ROWS = 50, 2_000  # of more rows, where nothing tells: a minute at 64 in flight, 2 s each
LEAST_ROWS, _MOST_ROWS = 200, 20_000
MOST_BYTES = 16 << 20  # of a chunk's rows, and of its requests
_MOST_CHUNKS = 5_000
_CHUNKS_A_SHARD = 8  # so that shards end at about the same time


@dataclass(frozen=True, slots=True)
class Workload:
    """What the size of chunks depends on."""

    rows: int  # of the whole input
    shards: int
    request_bytes: float  # of a request, on average
    rows_a_second: float | None  # that are answered, by all processes; None: nothing tells


def choose_chunk_rows(seconds: float, work: Workload) -> int:
    """Rows of a chunk that takes so many seconds, within the bounds."""
    rate = None if work.rows_a_second is None else work.rows_a_second / work.shards
    by_time = _usual_rows(work.rows) if rate is None else max(LEAST_ROWS, round(rate * seconds))
    if work.shards > 1:
        by_time = min(by_time, max(USUAL_ROWS, work.rows // (_CHUNKS_A_SHARD * work.shards)))
    by_count = math.ceil(work.rows / _MOST_CHUNKS)
    by_memory = int(MOST_BYTES / max(1.0, work.request_bytes))
    return max(1, min(max(by_time, by_count), _MOST_ROWS, by_memory))


def _usual_rows(rows: int) -> int:
    """Rows of a chunk where nothing tells how fast they are answered: more of many, since each chunk is a task run."""
    return max(USUAL_ROWS, min(_MOST_USUAL_ROWS, rows // _USUAL_CHUNKS))
