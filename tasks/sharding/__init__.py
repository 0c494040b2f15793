"""Shards of a run as Prefect runs or Dask tasks."""
