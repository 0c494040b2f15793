"""Whether the Prefect server is away, by the error that a call to it raised."""

import httpx
from prefect.exceptions import ObjectNotFound, PrefectException

UNSHOWN = (PrefectException, OSError, httpx.HTTPError)  # a display that can't be updated ends no run
SERVER_ERRORS = 500


def is_away(error: Exception) -> bool:
    """Whether a Prefect server that failed so may answer later."""
    if isinstance(error, ObjectNotFound):
        return False
    return not isinstance(error, httpx.HTTPStatusError) or error.response.status_code >= SERVER_ERRORS
