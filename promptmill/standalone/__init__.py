"""A run in the process that starts it, without a Prefect server: what the command and notebooks share.

Where its job asks for `processes`, it starts children that answer its rows side by side (side_by_side.py); so does a flow
run. A child is a shard that is told by a pipe: all that protects rows and money is that of shards.

It is the engine of a flow run with the same checkpoints, so that either goes on where the other ended. Only Prefect's
record of a chunk is missing, and a flow run writes it when it finds the chunk's answers.
"""
