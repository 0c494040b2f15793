"""`python -m benchmarks [lean|flat|limits|batch|pack|shared|deployed] [arguments]`; with none of them, all."""

import sys

from benchmarks import batch, deployed, flat, lean, limits, shared

BENCHMARKS = {
    "lean": lean.main,
    "flat": flat.main,
    "limits": limits.main,
    "batch": batch.main,
    "pack": batch.pack,
    "shared": shared.main,
    "deployed": deployed.main,
}

if __name__ == "__main__":
    name, *arguments = sys.argv[1:] or ["all"]
    for one in BENCHMARKS if name == "all" else [name]:
        BENCHMARKS[one](*arguments)
