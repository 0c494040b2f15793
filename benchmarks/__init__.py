"""What Promptmill promises of its speed and memory, each with the command that measures it (benchmarks/README.md).

`python -m benchmarks NAME` runs the file of that name. It starts the provider, the Prefect server and the command that it
measures in processes of their own (`rig`), so that a figure of the command counts neither of the others, and it prints a
line of JSON for each result. `campaign` measures no speed: it looks for rows that faults lose or have paid for twice.

Tests use `rig`, `postgres` and the pure files of `campaign`; the rest runs by hand only, since it takes 45 minutes.
Watch out: a figure holds for its machine and its day. Compare ratios that one run measured side by side, and run nothing
beside it. `deployed` needs PostgreSQL.
"""
