"""Answers a run in shards: hands its rows to other processes, supervises them, and continues with their answers.

Flows call `coordinator.answer_in_shards`. It starts the shards as Prefect runs (`flow_runs`) or as tasks on a Dask cluster
(`dask_tasks`); `supervisor` watches them and starts dead shards again. `shard` is the program of a shard's process.
`leftovers` ends the shards that an earlier run over the same output left at work.

A run and its shards tell each other everything by objects beside the checkpoints (`promptmill/sharding/folder.py`), never by
Prefect's states alone: a state may be late or wrong. So a process may outlive its attempt. Before the next attempt starts,
the run writes that down, and the older process sees that it lost the shard.
"""
