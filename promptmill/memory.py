"""Keeping the process small.

glibc gives each thread an arena of its own, up to eight a core, and gives little of them back; with our worker threads
that is some 40 MB by 200,000 rows (`python -m benchmarks batch`: 552 MB with the default, 487 MB with two arenas,
2026-11-24). Two arenas cost our few threads nothing that could be measured.
"""

import ctypes
import sys

M_ARENA_MAX = -8  # malloc.h
ARENAS = 2


def bound_arenas() -> None:
    """Ask the C library for few arenas; one that knows none goes on as it is. Call before threads are started."""
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_ARENA_MAX, ARENAS)
