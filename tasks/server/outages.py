"""Whether the Prefect server is away, by the error that a call to it raised.

What Prefect's client raises (prefect 3.8.8, `prefect.client.base` and `.orchestration`): httpx's errors where no answer
came; `PrefectHTTPStatusError`, which is httpx's too, for an answer that is an error; PrefectException for answers that it
knows, as 404. An OSError may come from below httpx, and `asyncio.timeout` raises one of them.
"""

from http import HTTPStatus

import httpx
from prefect.exceptions import PrefectException

CALL_ERRORS = (PrefectException, httpx.HTTPError, OSError)  # all that a call to the server may raise
_SERVER_ERRORS = 500
_TRY_LATER = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}


def is_away(error: Exception) -> bool:
    """Whether the same call may succeed later: the server is down, restarts, or has too much to do."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= _SERVER_ERRORS or error.response.status_code in _TRY_LATER
    if isinstance(error, httpx.UnsupportedProtocol):
        return False  # PREFECT_API_URL is wrong
    return isinstance(error, httpx.TransportError | OSError)


def is_slow(error: Exception) -> bool:
    """Whether the server is there and has too much to do; such a server was asked already and needs no rest."""
    if isinstance(error, httpx.TimeoutException):
        return not isinstance(error, httpx.ConnectTimeout)
    return isinstance(error, TimeoutError) or (isinstance(error, httpx.HTTPStatusError) and is_away(error))
