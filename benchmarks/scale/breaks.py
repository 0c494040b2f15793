"""What breaks first: what each resource is asked for, beside what it bears, the worst first."""

import resource
from dataclasses import dataclass
from typing import Literal

from benchmarks.scale import measured as m
from benchmarks.scale.online import Figures, Online
from promptmill.limits.concurrency import MOST
from promptmill.limits.places import most_in_flight
from tasks.sharding.supervisor import COUNT_SECONDS

_SPARE_GB = (m.MEMORY_BYTES - m.PROCESS_BYTES) / 1e9  # that a run's memory may grow by
_FILES_OF_A_SHELL = 1_024
_Growth = Literal["rows", "rows a second", "workers"]


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that a run needs more of as it grows."""

    name: str
    needs: float
    bears: float
    unit: str
    grows_by: _Growth
    effect: str  # what a person sees where it bears no more
    remedy: str

    @property
    def ratio(self) -> float:
        """Above 1 it is broken."""
        return self.needs / self.bears

    def breaks_at(self, run: Online) -> float:
        """At so many rows, rows a second or workers it breaks, where all else stays."""
        now: dict[_Growth, float] = {"rows": run.rows, "rows a second": _rate(run), "workers": run.workers}
        return now[self.grows_by] / self.ratio


def find_resources(run: Online, found: Figures, answer_seconds: float, lease_calls: float) -> list[Resource]:
    """The resources of a run, the worst first; an answer takes so many seconds, a shared limit so many calls a second."""
    all_of_them = [
        *_of_the_splitting_run(found),
        *_of_the_server(found, lease_calls),
        *_of_workers(run, answer_seconds),
    ]
    return sorted(all_of_them, key=lambda each: -each.ratio)


def _rate(run: Online) -> float:
    return run.requests_per_minute / 60 * run.used


def _of_the_splitting_run(found: Figures) -> list[Resource]:
    return [
        Resource(
            "memory of the run that plans",
            (found.planner_bytes - m.PROCESS_BYTES) / 1e9,
            _SPARE_GB,
            "GB more than an idle run has",
            "rows",
            "it is killed before the first request",
            "`memory_limit` of the work pool",
        ),
        Resource(
            "temporary folder of the run that plans",
            found.planner_disk_bytes / 1e9,
            m.TEMPORARY_BYTES / 1e9,
            "GB",
            "rows",
            "it ends with a message that says so, before the first request",
            "`TMPDIR`; no `id_column` makes it a third",
        ),
        Resource(
            "memory of the run that splits, for a listing of `_checkpoints/`",
            found.listing_bytes / 1e9,
            _SPARE_GB,
            "GB more than an idle run has",
            "rows",
            "it is killed while its shards are at work; its next attempt goes on with them",
            "a larger `chunk_rows`",
        ),
        Resource(
            "time of a listing of `_checkpoints/` in the run that splits",
            found.listing_seconds,
            COUNT_SECONDS,
            "s in each 15 s",
            "rows",
            "it lists all the time, and the progress that it shows lags",
            "a larger `chunk_rows`",
        ),
    ]


def _of_the_server(found: Figures, lease_calls: float) -> list[Resource]:
    return [
        Resource(
            "leases of `limits.shared` from Prefect's server",
            lease_calls,
            m.SERVER_LEASES_A_SECOND,
            "calls a second",
            "workers",
            "leases are late, and then many at once (below)",
            "leave it out: each shard keeps to its part",
        ),
        Resource(
            "all other calls to Prefect's server",
            found.server_calls_a_second,
            m.SERVER_CALLS_A_SECOND,
            "calls a second",
            "workers",
            "the UI is slow and states are late; no row is lost",
            "a larger server, or several API servers",
        ),
        Resource(
            "task runs on a server on sqlite",
            found.chunks_a_second,
            m.TASK_RUNS_A_SECOND,
            "a second",
            "rows a second",
            "the UI is slow and states are late; no row is lost",
            "PostgreSQL; a larger `chunk_rows`",
        ),
    ]


def _of_workers(run: Online, answer_seconds: float) -> list[Resource]:
    in_flight, seen = _rate(run) * answer_seconds, "the limit isn't used up; `limited_by` says concurrency"
    return [
        Resource(
            "requests in flight with `max_concurrency: auto` and `ulimit -n 1024`",
            in_flight,
            run.workers * _most_in_flight_of_a_shell(run.workers),
            "over all shards",
            "rows a second",
            seen,
            "`max_concurrency: 10000`",
        ),
        Resource(
            "requests in flight with `max_concurrency: auto` and `ulimit -n 8192`",
            in_flight,
            MOST,
            "over all shards",
            "rows a second",
            seen,
            "`max_concurrency: 10000`",
        ),
        Resource(
            "the core of each worker",
            _rate(run) / run.workers,
            m.PROCESS_ROWS_A_SECOND,
            "rows a second",
            "rows a second",
            "the limit isn't used up; `limited_by` says machine",
            "more shards",
        ),
    ]


def _most_in_flight_of_a_shell(workers: int) -> int:
    """What a shard finds at most where a process may open as many files as a shell allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES_OF_A_SHELL, hard))
    try:
        return most_in_flight("auto", 1 / workers)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
