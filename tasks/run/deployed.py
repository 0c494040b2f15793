"""Whether a run is a deployed one, whose job may name only what the operator lists (promptmill/allowed_urls.py)."""

from promptmill.allowed_urls import close_to_unlisted
from tasks.prefect_internals.sigterm_handler import is_started_by_worker


def close_if_deployed() -> None:
    """Close this process to unlisted URLs and modules where a worker started it; call it before a job is read."""
    if is_started_by_worker():
        close_to_unlisted()
