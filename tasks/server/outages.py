"""Tells from a call's error whether the Prefect server is away.

Prefect's client (prefect 3.8.8, `prefect.client.base` and `.orchestration`) raises httpx's errors if no answer came;
`PrefectHTTPStatusError`, which is httpx's too, for an error response; and PrefectException for responses that it knows, such
as 404. An OSError may come from below httpx, and `asyncio.timeout` raises one.
"""

from http import HTTPStatus

import httpx
from prefect.exceptions import PrefectException

CALL_ERRORS = (PrefectException, httpx.HTTPError, OSError)  # every error that a call to the server may raise
_SERVER_ERRORS = 500
_TRY_LATER = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}


def is_away(error: Exception) -> bool:
    """Whether the same call may succeed later, because the server is down, restarts, or has too much to do."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= _SERVER_ERRORS or error.response.status_code in _TRY_LATER
    if isinstance(error, httpx.UnsupportedProtocol):
        return False  # PREFECT_API_URL is wrong
    return isinstance(error, httpx.TransportError | OSError)


def is_slow(error: Exception) -> bool:
    """Whether the server is there but has too much to do; Prefect's client has then already paused."""
    if isinstance(error, httpx.TimeoutException):
        return not isinstance(error, httpx.ConnectTimeout)
    return isinstance(error, TimeoutError) or (isinstance(error, httpx.HTTPStatusError) and is_away(error))
