"""Holds everything that we use of Prefect beyond its documented API, so that an upgrade has one room to check.

Each place has its own file, which names the Prefect version it was written for, says why we need it, and does one thing.
Other rooms call these functions and never reach into Prefect themselves. Each file has a test in
`tests/tasks/prefect_internals/` that fails when Prefect no longer does what the file assumes: run these first after an
upgrade of Prefect.
If an assumption fails in production, the code warns once (`changes.py`) and goes on with Prefect's own behaviour.

This room knows nothing of runs, shards or batches, and imports no other room of `tasks`.
"""
