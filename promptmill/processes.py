"""Which process has a piece of work in hand, and whether that process still exists."""

import os
import platform

AWAY_SECONDS = 900.0  # a process of another machine that wrote nothing for so long counts as dead


def this_process() -> str:
    """A name for this process: machine and process id."""
    return f"{platform.node()}:{os.getpid()}"


def is_at_work(owner: str, silent_seconds: float, away_seconds: float = AWAY_SECONDS) -> bool:
    """Whether another process that wrote its name down is likely to be at work still."""
    if not owner or owner == this_process():
        return False
    machine, _, number = owner.rpartition(":")
    if machine != platform.node():
        return silent_seconds < away_seconds
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        pass
    return silent_seconds < away_seconds
