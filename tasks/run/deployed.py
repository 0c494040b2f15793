"""Restricts a deployed run to the places that the operator lists (promptmill/allowed_urls.py)."""

from promptmill.allowed_urls import close_to_unlisted
from tasks.prefect_internals.sigterm_handler import is_started_by_worker


def close_if_deployed() -> None:
    """If a worker started this process, forbid it unlisted URLs and modules; call it before reading a job."""
    if is_started_by_worker():
        close_to_unlisted()
