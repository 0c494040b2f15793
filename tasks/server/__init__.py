"""What Promptmill needs on a Prefect server, and what it asks of one while a run is under way.

On the server: work pool, blocks, automations and limits (`resources`, made by deployments/bootstrap.py and looked at by
`checks` for `promptmill doctor`). On a machine with a worker: `parts` starts and ends it. During a run:
credentials, the storage of checkpoints, and leases of a shared limit.

Other rooms rely on two promises: a server that is away never ends a run by itself (`outages` tells such errors from wrong
calls), and a key leaves its block only together with the address it belongs to (`credentials`). Nothing here knows of a
run's chunks, shards or batches.
"""
