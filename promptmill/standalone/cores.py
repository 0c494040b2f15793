"""How many processes a run is worth: by the cores that this process may use, by its rows and by its limits. Pure decisions.

A process answers some hundred rows a second with one core, and takes about two seconds of CPU to start. So a small run, or
one whose limits a single process keeps busy, stays in one process when the job says `auto`.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Literal

_WORTH_ROWS = 10_000  # rows for which another process is worth its start
_ROWS_A_SECOND = 300.0  # that one process answers at least, on a slow core
_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")  # cgroup v2: microseconds of CPU in a period, "max" = all
_CFS = Path("/sys/fs/cgroup/cpu")  # cgroup v1


def usable_cores() -> int:
    """The cores that this process may use: those it may be scheduled on, within what its container is granted."""
    scheduled = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = granted_cores(_read(_CPU_MAX)) or granted_cores(
        f"{_read(_CFS / 'cpu.cfs_quota_us')} {_read(_CFS / 'cpu.cfs_period_us')}"
    )
    return max(1, scheduled if granted is None else min(scheduled, round(granted)))


def granted_cores(text: str) -> float | None:
    """The cores that a container is granted, by the text of its `cpu.max`; None where it says nothing. Pure."""
    words = text.split()
    if len(words) != 2 or not all(word.isdecimal() and int(word) > 0 for word in words):
        return None
    return int(words[0]) / int(words[1])


def choose_processes(
    asked: int | Literal["auto"], cores: int, rows: int, rows_a_second: float | None, concurrency: int | None
) -> int:
    """How many processes answer `rows`; `rows_a_second` and `concurrency` are what the limits allow, None = no limit. Pure."""
    most = rows if concurrency is None else min(rows, concurrency)  # each has a place for a request at least
    if asked == "auto":
        asked = min(cores, rows // _WORTH_ROWS)
        if rows_a_second is not None:
            asked = min(asked, int(-(-rows_a_second // _ROWS_A_SECOND)))
    return max(1, min(asked, most))


def _read(path: Path) -> str:
    with suppress(OSError):
        return path.read_text().strip()
    return ""
