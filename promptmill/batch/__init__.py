"""A run by the Batch API: pack, submit, poll, collect."""
