"""Batches of registered jobs, a step at a time."""
