"""Keeping the process small.

glibc gives each thread an arena of its own, up to eight a core, and Arrow's mimalloc keeps segments for each thread on top;
both give little back. With our worker threads that is some 100 MB whatever the rows. Two arenas, and Arrow on the C
library's allocator, cost our few threads nothing that could be measured.
`python -m benchmarks batch`, 200,000 rows: 552 MB with the defaults, 406 MB so (2026-11-24).
"""

import ctypes
import os
import sys

M_ARENA_MAX = -8  # malloc.h
ARENAS = 2


def spare_memory() -> None:
    """Ask the C library for few arenas and Arrow for none of its own. Call before threads are started."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, ARENAS)
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # read when Arrow first allocates
    if "pyarrow" in sys.modules and os.environ["ARROW_DEFAULT_MEMORY_POOL"] == "system":
        import pyarrow as pa

        pa.set_memory_pool(pa.system_memory_pool())
