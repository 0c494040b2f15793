"""A run that several processes answer together: split into shards, each a range of the run's chunks.

split.py decides who gets which chunks and how much of the budget. folder.py holds the objects by which a run and its
shards hear of each other; they lie beside the checkpoints, so that any machine can carry a shard.

Promise: together the shards send each row once and spend at most the run's budget; the split run alone publishes.
Watch out: who starts shards and looks after them is in tasks/sharding; here is nothing that knows Prefect or Dask.
"""
