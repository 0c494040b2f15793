"""Decides how many processes a run gets: by the available cores, its rows and its limits. The decisions are pure.

A process answers some hundred rows a second with one core, and needs about two seconds of CPU to start. So with `auto` a
small run stays in one process, and so does a run whose limits one process can use up.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Literal

_WORTH_ROWS = 10_000  # with this many rows, another process is worth its start
_ROWS_A_SECOND = 300.0  # one process answers at least this many, on a slow core
_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")  # cgroup v2: microseconds of CPU in a period, "max" = all
_CFS = Path("/sys/fs/cgroup/cpu")  # cgroup v1


def usable_cores() -> int:
    """The number of cores that this process may use: by its CPU affinity and its container's quota."""
    scheduled = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = granted_cores(_read(_CPU_MAX)) or granted_cores(
        f"{_read(_CFS / 'cpu.cfs_quota_us')} {_read(_CFS / 'cpu.cfs_period_us')}"
    )
    return max(1, scheduled if granted is None else min(scheduled, round(granted)))


def granted_cores(text: str) -> float | None:
    """The cores of a container's quota, from the text of its `cpu.max`; None if it has no quota. Pure."""
    words = text.split()
    if len(words) != 2 or not all(word.isdecimal() and int(word) > 0 for word in words):
        return None
    return int(words[0]) / int(words[1])


def choose_processes(
    asked: int | Literal["auto"], cores: int, rows: int, rows_a_second: float | None, concurrency: int | None
) -> int:
    """The number of processes for `rows`; the limits allow `rows_a_second` and `concurrency`, None = no limit. Pure."""
    most = (
        rows if concurrency is None else min(rows, concurrency)
    )  # each process needs at least one place for a request
    if asked == "auto":
        asked = min(cores, rows // _WORTH_ROWS)
        if rows_a_second is not None:
            asked = min(asked, int(-(-rows_a_second // _ROWS_A_SECOND)))
    return max(1, min(asked, most))


def _read(path: Path) -> str:
    with suppress(OSError):
        return path.read_text().strip()
    return ""
