"""Requests → answers over HTTP: attempts, retries, verdicts."""
