"""A large run online: how long, how many requests to the storage, how many calls to Prefect's server.

The times come from what the real limiter let through in a simulated minute (leases.py), the files from the real saver
(saves.py), the ranges of the shards from the real split; the rest are sums of what small runs showed (measured.py).
"""

import math
import random
from dataclasses import dataclass
from functools import lru_cache

from benchmarks.scale import measured as m
from benchmarks.scale.saves import files_a_chunk
from promptmill.checkpoints.output_lease import RENEW_SECONDS
from promptmill.sharding.plan import split_evenly
from tasks.run.ownership import OWNERSHIP_SECONDS
from tasks.sharding.supervisor import COUNT_SECONDS, STEP_SECONDS

_ACCOUNT_WRITES = 60  # of each process, before its requests: some dozens, however long it runs (limits/exposure.py)
_UNEVEN = 0.2  # by which chunks differ in their work, at most


@dataclass(frozen=True, slots=True)
class Online:
    """A run over many workers; a shard has a worker of its own."""

    rows: int
    workers: int
    requests_per_minute: int
    used: float  # of that limit
    chunk_rows: int
    checkpoint_rows: int
    chunks_in_flight: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What such a run takes."""

    plan_seconds: float  # before the first request
    answer_seconds: float
    publish_seconds: float
    chunks: int
    objects: int  # in `_checkpoints/` at the end
    puts: int  # and listings, which cost the same
    gets: int
    usd: float  # of these requests
    server_calls_a_second: float  # without those for a shared limit
    chunks_a_second: float  # task runs
    database_bytes: int  # of Prefect's database
    listing_seconds: float  # of one listing of `_checkpoints/`, at the end
    listings: int  # of the run that splits, to count finished chunks
    planner_bytes: float  # memory of the run that splits, while it plans
    planner_disk_bytes: float  # of its temporary folder
    listing_bytes: float  # of that run's memory, for a listing at the end


def simulate_online(run: Online) -> Figures:
    """The figures of a run."""
    chunks = math.ceil(run.rows / run.chunk_rows)
    rate = run.requests_per_minute / 60 * run.used
    seconds = run.rows / rate * _longest_shard(chunks, run.workers)
    files = files_a_chunk(rate / run.workers, run.chunk_rows, run.checkpoint_rows, run.chunks_in_flight)
    objects = 2 * chunks
    listings, pages = _count(objects, seconds)
    renewals = (run.workers + 1) * seconds / RENEW_SECONDS
    puts = chunks * (files + m.PUTS_A_CHUNK) + pages + 2 * renewals + _ACCOUNT_WRITES * run.workers
    gets = chunks * m.GETS_A_CHUNK
    listing_bytes = objects * m.LISTED_BYTES
    return Figures(
        plan_seconds=run.rows * m.PLAN_CPU_SECONDS,
        answer_seconds=seconds,
        publish_seconds=run.rows * m.PUBLISH_CPU_SECONDS,
        chunks=chunks,
        objects=objects,
        puts=round(puts),
        gets=round(gets),
        usd=puts * m.PUT_USD + gets * m.GET_USD,
        server_calls_a_second=_calls(run.workers) + rate / run.chunk_rows * m.LOG_CALLS_A_CHUNK,
        chunks_a_second=rate / run.chunk_rows,
        database_bytes=chunks * m.DATABASE_BYTES_A_CHUNK,
        listing_seconds=_listing_seconds(objects),
        listings=listings,
        planner_bytes=m.PROCESS_BYTES + run.rows * m.PLAN_BYTES,
        planner_disk_bytes=run.rows * m.PLAN_DISK_BYTES,
        listing_bytes=listing_bytes,
    )


@lru_cache
def _longest_shard(chunks: int, workers: int) -> float:
    """How much longer the shard with the most work takes than the average one."""
    chance = random.Random(1)
    weights = [chance.randint(round(1_000 * (1 - _UNEVEN)), round(1_000 * (1 + _UNEVEN))) for _ in range(chunks)]
    sums = [sum(weights[first:stop]) for first, stop in split_evenly(weights, workers)]
    return max(sums) / (sum(sums) / len(sums))


def _calls(workers: int) -> float:
    """Calls to Prefect's server a second: each run looks whether it is still its own and shows how far it is."""
    runs = (workers + 1) * (1 / OWNERSHIP_SECONDS + 1 / m.ARTIFACT_SECONDS)
    return runs + workers * m.WORKER_CALLS_A_SECOND + math.ceil(workers / 100) / STEP_SECONDS


def _listing_seconds(objects: float) -> float:
    return objects / 1_000 * m.PAGE_SECONDS + objects * m.LISTED_CPU_SECONDS


def _count(objects: int, seconds: float) -> tuple[int, int]:
    """Listings by which the run that splits counts finished chunks, and their pages, as the objects grow."""
    now, listings, pages = 0.0, 0, 0
    while now < seconds:
        found = objects * now / seconds
        listings, pages = listings + 1, pages + math.ceil(found / 1_000) + 1
        now += COUNT_SECONDS + _listing_seconds(found)
    return listings, pages
