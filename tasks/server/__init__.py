"""Makes everything that Promptmill needs on a Prefect server, and talks to the server during a run.

On the server: work pool, blocks, automations and limits (deployments/bootstrap.py makes `resources`, and `checks` checks
them for `promptmill doctor`). On a machine with a worker: `parts` starts and ends it. During a run: credentials, the
storage of checkpoints, and leases of a shared limit.

Two promises to other rooms: an absent server never ends a run by itself (`outages` tells such errors from wrong calls),
and a key leaves its block only together with its address (`credentials`). This room knows no chunks, shards or batches of
a run.
"""
