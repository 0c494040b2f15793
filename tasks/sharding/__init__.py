"""Shards: a run hands its rows to other processes, follows them, and goes on with what they answered.

`coordinator.answer_in_shards` is the way in for flows. It starts the shards as Prefect runs (`flow_runs`) or as tasks on a
Dask cluster (`dask_tasks`), follows them (`supervisor`), and starts those again that die. `shard` is the other side: what
runs in a shard's process. `leftovers` ends the shards that an earlier run over the same output left at work.

A run and its shards tell each other everything by objects beside the checkpoints (`promptmill/sharding/folder.py`), never by
Prefect's states alone: a state may be late or wrong. A process may therefore outlive its attempt; before the next attempt
starts, this is written down, and the older process sees that it lost the shard.
"""
