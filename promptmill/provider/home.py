"""An HTTP client for the openai SDK that sends key, headers and files to the given origin only.

The SDK follows redirects, and httpx then takes away the `Authorization` header alone: a block's other headers, and the
file with the rows, would go to whatever host a provider names. A redirect within the origin, as for a missing slash, is
followed; one that leads elsewhere is handed back as the answer, its target in `REFUSED_LOCATION`.
"""

import contextlib

import httpx2
import openai

from promptmill.provider.addresses import REFUSED_LOCATION


class HomeHttpClient(openai.DefaultHttpxClient):
    """The SDK's own client with its timeouts and limits, without redirects to other origins."""

    def __init__(self) -> None:
        super().__init__(event_hooks={"response": [_keep_at_home]})

    def __del__(self) -> None:
        if not self.is_closed:
            with contextlib.suppress(Exception):  # as the SDK closes the client that it makes itself
                self.close()


def _keep_at_home(response: httpx2.Response) -> None:
    """Take the target out of a redirect to another origin, so that the client doesn't follow it."""
    if not response.has_redirect_location:
        return
    location = response.headers["location"]
    try:
        is_home = _origin(response.url.join(location)) == _origin(response.url)
    except httpx2.InvalidURL:
        is_home = False
    if not is_home:
        del response.headers["location"]
        response.headers[REFUSED_LOCATION] = location


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port if url.port is not None else {"http": 80, "https": 443}.get(url.scheme)
