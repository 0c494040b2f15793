"""A chain of flows: one publishes a dataset, Promptmill answers it, and one reads the answers. Copy and change it.

`upstream` announces its dataset in three ways, any of which can start a run; `downstream` starts on the event of a finished
run and counts its answers. `job.yaml` is the job between them, and the `prefect.yaml` here deploys `downstream`.
Watch out: the events and the manifest's URL are public names of Promptmill; `tests/deployed/test_chain.py` runs the chain.
"""
