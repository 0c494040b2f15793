"""What small runs showed, and what we take for granted: every number of the simulation that isn't the code's own.

Measured on 2 cores of an AMD EPYC with other work beside it (load 5 to 12), 2026-11-28, Python 3.11.7, Prefect 3.8.8.
"""

# python -m benchmarks scale measure: of a chunk of 500 rows on SeaweedFS, beside the files that its rows are saved in first
PUTS_A_CHUNK = 2.0  # its answers, and Prefect's record of it
GETS_A_CHUNK = 2.0  # a GET when it is published, a HEAD when Prefect looks for its record
LOG_CALLS_A_CHUNK = 0.42  # to Prefect's server
LISTED_BYTES = 1_299  # that a process holds of each object while it lists, at the most
LISTED_CPU_SECONDS = 0.086e-3  # of an object
PLAN_CPU_SECONDS = 25e-6  # of a row
PLAN_BYTES = 6.4  # of a row, with an id column, from 1.2 to 2.4 million rows
PLAN_DISK_BYTES = 84.0  # of a row, likewise: 28 each for its id, its custom_id and its request (planning/many_keys.py)
PROCESS_BYTES = 290e6  # of a run, whatever the rows

# python -m benchmarks scale server: 32 calls at a time to PostgreSQL and one Prefect server on these cores; at a load of 12
# and not 6 it granted half as many leases. On sqlite it gave 2 to 4 leases a second, and 503 or nothing for the rest.
SERVER_LEASES_A_SECOND = 27.0  # blocks of one shared limit: all write one row of the database
SERVER_CALLS_A_SECOND = 74.0  # looks at a run

# python -m benchmarks scale publishing
PUBLISH_CPU_SECONDS = 45e-6  # of a row, reading its checkpoint included: 70e-6 with the plan before it
DATABASE_BYTES_A_CHUNK = 28_000  # on sqlite

TASK_RUNS_A_SECOND = 50.0  # that a server on sqlite carries (docs/deploying.md, "Sizing")

# Taken for granted
PAGE_SECONDS = 0.1  # a request for 1,000 names of a listing
READ_SECONDS = 0.03  # one small object
LARGE_SERVER_LEASES_A_SECOND = 150.0
WORKER_CALLS_A_SECOND = 0.15  # of Prefect's own worker: a look for runs every 10 s, a heartbeat every 30
ARTIFACT_SECONDS = 5.0  # between two updates of a run's progress (tasks/run/progress.py)
TEMPORARY_BYTES = 10e9  # free for temporary files
MEMORY_BYTES = 2**30  # of a run, by the work pool that deployments/bootstrap.py makes
PROCESS_ROWS_A_SECOND = 500.0  # that one core answers, in `measure` with all servers beside it

# S3 in us-east-1, list prices from memory, November 2026; deleting is free
PUT_USD = 0.005 / 1_000  # LIST too
GET_USD = 0.0004 / 1_000
