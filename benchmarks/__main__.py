"""`python -m benchmarks [NAME] [arguments]`, with a NAME of: start, lean, publishing, reading, flat, limits, in_flight, batch,
pack, steps, shared, small-files, cache, deployed, processes, scale, large, campaign.

Without a name it runs all but `scale` and `large`, of `campaign` 20 rounds, and ends with what the pages promise: what holds,
what doesn't, and what this run didn't measure.
"""

import sys
from functools import partial

from benchmarks import (
    batch,
    cache,
    deployed,
    flat,
    in_flight,
    large,
    lean,
    limits,
    processes,
    publishing,
    reading,
    shared,
    small_files,
    start,
    steps,
)
from benchmarks.campaign import main as campaign
from benchmarks.postgres import MISSING, find_postgres
from benchmarks.promises import show_promises
from benchmarks.rig import REPORTED
from benchmarks.scale.command import main as scale

BENCHMARKS = {
    "lean": lean.main,
    "publishing": publishing.main,
    "reading": reading.main,
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
    "processes": processes.main,
    "scale": scale,
    "large": large.main,
    "campaign": campaign.main,
    "start": start.main,
}
ON_S3 = {"small-files", "cache"}
ONLY_BY_NAME = {"scale", "large"}  # scale measures nothing and writes docs/scale.md; large takes hours
ARGUMENTS = {"campaign": ("--rounds", "20")}  # where all are run


def main(name: str = "all", *arguments: str) -> None:
    """Run one benchmark, or all that this machine can run."""
    if name == "all":
        try:
            _measure_all()
        finally:
            show_promises(REPORTED, partial(print, file=sys.stderr))
    elif name in BENCHMARKS:
        BENCHMARKS[name](*arguments)
    else:
        raise SystemExit(f"there is no benchmark {name!r}; there are {', '.join(BENCHMARKS)}, and all.")


def _measure_all() -> None:
    """Run each that this machine can run. Raises: SystemExit at the end, if one ended so."""
    ended: list[SystemExit] = []
    for benchmark, measure in BENCHMARKS.items():
        if benchmark in ONLY_BY_NAME:
            continue
        if benchmark == "deployed" and find_postgres() is None:
            print(f"deployed is left out: {MISSING}", file=sys.stderr)
        elif benchmark in ON_S3 and small_files.find_weed() is None:
            print(f"{benchmark} is left out: {small_files.MISSING}", file=sys.stderr)
        else:
            try:
                measure(*ARGUMENTS.get(benchmark, ()))
            except SystemExit as error:
                print(f"{benchmark}: {error}", file=sys.stderr)
                ended.append(error)
    if ended:
        raise ended[0]


if __name__ == "__main__":
    main(*sys.argv[1:])
