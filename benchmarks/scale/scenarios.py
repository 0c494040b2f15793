"""What is simulated, and all its figures by the names that the page's tables have."""

from dataclasses import dataclass
from typing import Any

from benchmarks.scale import measured as m
from benchmarks.scale.batches import Queue, Waves, run_batches
from benchmarks.scale.leases import Shared, Sharing, share
from benchmarks.scale.online import Figures, Online, simulate_online
from promptmill.job.spec import Job
from promptmill.planning.chunk_size import USUAL_ROWS

ROWS = 100_000_000
WORKERS = 50
TOKENS = 200  # of a row, of which its input has
INPUT_TOKENS = 160
LINE_BYTES = 1_000  # of a row in a batch file
ANSWER_SECONDS = 2.0
ACCOUNTS = {"30,000 requests a minute": 30_000, "300,000 requests a minute": 300_000}
TOKENS_A_REQUEST = 5_000  # of the limit on tokens: 150 M a minute beside 30,000 requests
LARGE_CHUNK_ROWS = 10_000
LARGE = 30_000  # requests a minute of the account whose resources are listed
QUEUES = {"5 G": 5_000_000_000, "40 M": 40_000_000}
BATCH_HOURS = (1, 24)
STEP_SECONDS = 180  # of `advance-batches` (prefect.yaml)
IN_FLIGHT = 200  # of each worker, max_concurrency 10000 in 50 parts
SERVERS = {"measured": m.SERVER_LEASES_A_SECOND, "large": m.LARGE_SERVER_LEASES_A_SECOND}
LEASED_WORKERS = (10, 20, 50)


def default_of(name: str) -> Any:
    """What a job has where it doesn't say otherwise."""
    return Job.model_fields[name].default


@dataclass(frozen=True, slots=True)
class Column:
    """A run of the online table."""

    account: str
    chunk_rows: int
    run: Online
    figures: Figures


def simulate_parts() -> Shared:
    """A worker's part of the limit: how much of it is used."""
    return share(_sharing(WORKERS, None), 5, 10)


def simulate_leases() -> dict[tuple[int, str], Shared]:
    """The shared limit, by workers and by server. About half a minute of CPU."""
    return {
        (workers, name): share(_sharing(workers, calls), 120, 60)
        for workers in LEASED_WORKERS
        for name, calls in SERVERS.items()
    }


def simulate_columns(used: float) -> list[Column]:
    """The online table's runs, at that share of their limits."""
    found: list[Column] = []
    for account, requests in ACCOUNTS.items():
        for chunk_rows in (USUAL_ROWS, LARGE_CHUNK_ROWS):
            kept = (default_of("checkpoint_rows"), default_of("chunks_in_flight"))
            run = Online(ROWS, WORKERS, requests, used, chunk_rows, *kept)
            found.append(Column(account, chunk_rows, run, simulate_online(run)))
    return found


def simulate_queues() -> dict[tuple[str, int], Waves]:
    """The batch table's runs, by enqueued limit and by the hours that a batch takes."""
    return {
        (name, hours): run_batches(Queue(ROWS, INPUT_TOKENS, LINE_BYTES, tokens, hours * 3_600, STEP_SECONDS))
        for name, tokens in QUEUES.items()
        for hours in BATCH_HOURS
    }


def _sharing(workers: int, calls: float | None) -> Sharing:
    return Sharing(workers, LARGE, LARGE * TOKENS_A_REQUEST, TOKENS, ANSWER_SECONDS, IN_FLIGHT, calls)
