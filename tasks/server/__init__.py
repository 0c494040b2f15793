"""What we need of a Prefect server, and what we keep on it."""
