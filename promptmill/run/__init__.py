"""A run from plan to output, without Prefect."""
