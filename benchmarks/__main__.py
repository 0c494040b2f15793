"""`python -m benchmarks [NAME] [arguments]`, with a NAME of: start, lean, flat, limits, in_flight, batch, pack, steps, shared,
small-files, cache, deployed, scale, campaign.

Without a name it runs all but `campaign` and `scale`.
"""

import sys

from benchmarks import batch, cache, deployed, flat, in_flight, lean, limits, shared, small_files, start, steps
from benchmarks.campaign import main as campaign
from benchmarks.postgres import MISSING, find_postgres
from benchmarks.scale.command import main as scale

BENCHMARKS = {
    "lean": lean.main,
    "flat": flat.main,
    "limits": limits.main,
    "in_flight": in_flight.main,
    "batch": batch.main,
    "pack": batch.pack,
    "steps": steps.main,
    "shared": shared.main,
    "small-files": small_files.main,
    "cache": cache.main,
    "deployed": deployed.main,
    "scale": scale,
    "campaign": campaign.main,
    "start": start.main,  # last, since it ends with an error above its budgets
}
ON_S3 = {"small-files", "cache"}
ONLY_BY_NAME = {"campaign", "scale"}  # one looks for faults and measures no speed, the other writes docs/scale.md


def main(name: str = "all", *arguments: str) -> None:
    """Run one benchmark, or all that this machine can run."""
    if name == "all":
        for benchmark, measure in BENCHMARKS.items():
            if benchmark in ONLY_BY_NAME:
                continue
            if benchmark == "deployed" and find_postgres() is None:
                print(f"deployed is left out: {MISSING}", file=sys.stderr)
            elif benchmark in ON_S3 and small_files.find_weed() is None:
                print(f"{benchmark} is left out: {small_files.MISSING}", file=sys.stderr)
            else:
                measure()
    elif name in BENCHMARKS:
        BENCHMARKS[name](*arguments)
    else:
        raise SystemExit(f"there is no benchmark {name!r}; there are {', '.join(BENCHMARKS)}, and all.")


if __name__ == "__main__":
    main(*sys.argv[1:])
