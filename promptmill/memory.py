"""Keeps the process small.

glibc gives each thread its own arena, up to eight per core, and Arrow's mimalloc keeps segments for each thread as well.
Both give little memory back to the system. With our worker threads that is about 100 MB, however few the rows are. With
two arenas, and Arrow on the C library's allocator, our few threads were not measurably slower.
`python -m benchmarks batch`, 200,000 rows: 552 MB with the defaults, 406 MB with these settings (2026-11-24).

Tables come and go in changing sizes, and the longer a run takes, the more holes they leave in the arenas. glibc gives a large
block pages of its own, and calls a block large that is larger than all that were freed, up to 32 MiB. We fix that size, and
return what is free now and then. Publishing 1,000,000 short rows never used more than 128 MB of the C library's memory, and
its arenas grew to 147 MB. With a size of 64 KiB they grow to 98, but each read of a socket then costs a call of the system:
9 microseconds of CPU a row, against 3 with 512 KiB, beside 180 of the whole run (2026-11-28).
"""

import ctypes
import gc
import os
import sys
from importlib.abc import MetaPathFinder

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h
_ARENAS = 2
_BLOCK_BYTES = 2**19  # asyncio reads a socket into 256 KiB
_RETURN_EVERY_BYTES = 16 * 2**20  # of tables


def spare_memory() -> None:
    """Have the C library keep few arenas with few holes, and Arrow allocate from it. Call this before the first thread."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)
        mallopt(_M_MMAP_THRESHOLD, _BLOCK_BYTES)
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # Arrow reads this when it first allocates
    if "pyarrow" in sys.modules and os.environ["ARROW_DEFAULT_MEMORY_POOL"] == "system":
        import pyarrow as pa

        pa.set_memory_pool(pa.system_memory_pool())


class FreeMemory:
    """Memory that work on many tables gave up, returned to the system now and then.

    glibc returns what is free at the end of an arena, and the holes before it only when it is asked.
    """

    def __init__(self) -> None:
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
        self._bytes = 0

    def give_back(self) -> None:
        """Return it now. This takes milliseconds."""
        self._bytes = 0
        if self._trim is not None:
            self._trim(0)

    def came_by(self, used_bytes: int) -> None:
        """Return it if enough tables came by since."""
        self._bytes += used_bytes
        if self._bytes >= _RETURN_EVERY_BYTES:
            self.give_back()


def collect_seldom() -> None:
    """Look for cyclic garbage less often, for a command that imports much and may end soon.

    A run of 200 rows takes 3.6 s of CPU instead of 4.1 (2 cores, Python 3.11, 2026-11-27). What waits to be collected are
    50,000 objects at most, a few megabytes.
    """
    gc.set_threshold(50_000, 20, 20)


def spare_pandas() -> None:
    """Keep pyarrow from importing pandas to see whether a list is one of its columns; for a process without frames.

    The first `pa.array` of a list tries it and remembers how that went (pyarrow 26, `pandas-shim.pxi`); `to_pandas` tries
    again. The import takes half a second of CPU and 49 MB.
    """
    if "pandas" in sys.modules:
        return
    import pyarrow as pa

    refusing = _NoPandas()
    sys.meta_path.insert(0, refusing)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(refusing)


class _NoPandas(MetaPathFinder):
    """Finds every module as Python does, and says of pandas that there is none."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Leave all other modules to the other finders."""
        del path, target
        if fullname == "pandas":
            raise ImportError("this process does without pandas")
