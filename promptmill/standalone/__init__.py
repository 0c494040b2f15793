"""Runs a job in the process that starts it, without a Prefect server, for the command and for notebooks.

If the job asks for `processes`, the run starts children that answer its rows side by side (side_by_side.py); so does a
flow run. A child is a shard that gets its work by a pipe, so rows and money are protected as those of shards.

A flow run uses the same engine and the same checkpoints, so each can continue where the other ended. Only Prefect's record
of a chunk is missing; a flow run writes it when it finds the chunk's answers.
"""
