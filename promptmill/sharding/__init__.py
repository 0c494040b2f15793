"""Splits a run into shards that several processes answer together. Each shard is a range of the run's chunks.

split.py decides which chunks and how much of the budget each shard gets. folder.py reads and writes the objects by which a
run and its shards talk to each other. They lie beside the checkpoints, so any machine can answer a shard.

Promise: together the shards send each row once and spend at most the run's budget; only the split run publishes.
Watch out: tasks/sharding starts and supervises the shards; this room knows neither Prefect nor Dask.
"""
