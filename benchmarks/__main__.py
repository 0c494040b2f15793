"""`python -m benchmarks [lean|flat|limits|batch|pack|shared|deployed|campaign] [arguments]`.

Without a name it runs all but `campaign`.
"""

import sys

from benchmarks import batch, deployed, flat, lean, limits, shared
from benchmarks.campaign import main as campaign
from benchmarks.postgres import MISSING, find_postgres

BENCHMARKS = {
    "lean": lean.main,
    "flat": flat.main,
    "limits": limits.main,
    "batch": batch.main,
    "pack": batch.pack,
    "shared": shared.main,
    "deployed": deployed.main,
    "campaign": campaign.main,
}
ONLY_BY_NAME = {"campaign"}  # it looks for faults and measures no speed


def main(name: str = "all", *arguments: str) -> None:
    """Run one benchmark, or all that this machine can run."""
    if name == "all":
        for benchmark, measure in BENCHMARKS.items():
            if benchmark in ONLY_BY_NAME:
                continue
            if benchmark == "deployed" and find_postgres() is None:
                print(f"deployed is left out: {MISSING}", file=sys.stderr)
            else:
                measure()
    elif name in BENCHMARKS:
        BENCHMARKS[name](*arguments)
    else:
        raise SystemExit(f"there is no benchmark {name!r}; there are {', '.join(BENCHMARKS)}, and all.")


if __name__ == "__main__":
    main(*sys.argv[1:])
