"""`python -m benchmarks [lean|flat|limits|batch|pack] [arguments]`; with none of them, all."""

import sys

from benchmarks import batch, flat, lean, limits

BENCHMARKS = {"lean": lean.main, "flat": flat.main, "limits": limits.main, "batch": batch.main, "pack": batch.pack}

if __name__ == "__main__":
    name, *arguments = sys.argv[1:] or ["all"]
    for one in BENCHMARKS if name == "all" else [name]:
        BENCHMARKS[one](*arguments)
