"""Whether a run is a deployed one, whose job may name only what the operator lists (promptmill/allowed_urls.py)."""

from promptmill.allowed_urls import close_to_unlisted
from tasks.run.sigterm import is_supervised


def close_if_deployed() -> None:
    """Close this process to unlisted URLs and modules where a worker started it; call it before a job is read."""
    if is_supervised():
        close_to_unlisted()
