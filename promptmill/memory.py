"""Keeps the process small.

glibc gives each thread its own arena, up to eight per core, and Arrow's mimalloc keeps segments for each thread as well.
Both give little memory back to the system. With our worker threads that is about 100 MB, however few the rows are. With
two arenas, and Arrow on the C library's allocator, our few threads were not measurably slower.
`python -m benchmarks batch`, 200,000 rows: 552 MB with the defaults, 406 MB with these settings (2026-11-24).
"""

import ctypes
import gc
import os
import sys
from importlib.abc import MetaPathFinder

_M_ARENA_MAX = -8  # malloc.h
_ARENAS = 2


def spare_memory() -> None:
    """Limit the C library to few arenas, and let Arrow allocate from it. Call this before the first thread starts."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # Arrow reads this when it first allocates
    if "pyarrow" in sys.modules and os.environ["ARROW_DEFAULT_MEMORY_POOL"] == "system":
        import pyarrow as pa

        pa.set_memory_pool(pa.system_memory_pool())


def give_back() -> None:
    """Give memory that is free back to the system: the next step needs as much, of another kind.

    glibc gives back what is free at the end of an arena, and otherwise only when it is asked.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


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
