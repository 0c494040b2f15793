"""Starts Prefect's server for `make serve`: on sqlite, its writers wait for each other instead of failing.

It has the options of `prefect server start`. tasks/prefect_internals/sqlite_transactions.py says why we need it.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from prefect.cli import app

from tasks.prefect_internals.sqlite_transactions import lock_at_begin

if __name__ == "__main__":
    lock_at_begin()
    sys.argv[1:] = ["server", "start", *sys.argv[1:]]
    app()
