"""Units of work: Prefect tasks, their persistence, artifacts and blocks."""
