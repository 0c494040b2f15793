"""A run in the process that starts it, without a Prefect server: what the command and notebooks share.

It is the engine of a flow run with the same checkpoints, so that either goes on where the other ended. Only Prefect's
record of a chunk is missing, and a flow run writes it when it finds the chunk's answers.
"""
