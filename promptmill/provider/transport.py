"""One attempt over the wire: bytes to the provider, status, headers and bytes back.

The openai client supplies what is its to know: base URL, key, organisation, headers. The bytes travel by aiohttp: a bare
loop over the client's own calls takes twice the CPU of all that we do for a row (`python -m benchmarks lean 5000`: ratio
0.50; 2 cores, Python 3.11, 2026-11-25), and its retries would pass by our limits.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import openai
from openai import AsyncOpenAI, OpenAI

from promptmill.errors import CredentialsError
from promptmill.job.spec import Endpoint
from promptmill.provider.response_body import PATHS

Sdk = TypeVar("Sdk", AsyncOpenAI, OpenAI)

CONNECT_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to reach a provider. Never a parameter, log line, result or artifact: `repr` shows nothing of it."""

    api_key: str | None = None  # None: OPENAI_API_KEY
    base_url: str | None = None  # None: OPENAI_BASE_URL, else OpenAI's own
    organization: str | None = None
    project: str | None = None
    default_headers: Mapping[str, str] | None = None

    def __repr__(self) -> str:
        return "Credentials(…)"


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class TransportError(Exception):
    """The attempt brought no answer; `kind` says how it ended."""

    def __init__(self, kind: Literal["timeout", "connection"], message: str, was_sent: bool) -> None:
        super().__init__(message)
        self.kind: Literal["timeout", "connection"] = kind
        self.was_sent = was_sent  # the provider may have done the work


def make_sdk(credentials: Credentials) -> AsyncOpenAI:
    """The openai client, its own retries off. Raises: CredentialsError when there is no key."""
    return _make(AsyncOpenAI, credentials)


def make_blocking_sdk(credentials: Credentials) -> OpenAI:
    """The same for worker threads. Raises: CredentialsError when there is no key."""
    return _make(OpenAI, credentials)


def _make(kind: Callable[..., Sdk], credentials: Credentials) -> Sdk:
    try:
        return kind(
            api_key=credentials.api_key,
            base_url=credentials.base_url,
            organization=credentials.organization,
            project=credentials.project,
            default_headers=dict(credentials.default_headers or {}),
            max_retries=0,
        )
    except openai.OpenAIError as error:
        raise CredentialsError(
            "no API key was found; OPENAI_API_KEY (with OPENAI_BASE_URL for another provider) or the job's `provider` "
            "block must hold one. Export OPENAI_API_KEY, or any word for a local server that asks for none."
        ) from error


class Transport:
    """A pool of connections to one endpoint; make it and close it on the event loop that uses it."""

    def __init__(
        self, credentials: Credentials, endpoint: Endpoint, max_connections: int, timeout_seconds: float
    ) -> None:
        sdk = make_sdk(credentials)
        self._url = f"{str(sdk.base_url).rstrip('/')}/{PATHS[endpoint]}"
        named = {**sdk.default_headers, **sdk.auth_headers}
        headers = {name: value for name, value in named.items() if isinstance(value, str)}
        self._timeout_seconds = timeout_seconds
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=max_connections, ttl_dns_cache=60),
            timeout=aiohttp.ClientTimeout(total=timeout_seconds, connect=min(CONNECT_SECONDS, timeout_seconds)),
            headers=headers,
            proxy=_proxy_of(self._url),
        )

    async def post(self, body: bytes) -> RawAnswer:
        """Send one request, whatever its status the answer. Raises: TransportError when none came in time."""
        try:
            async with self._session.post(self._url, data=body, allow_redirects=False) as response:
                return RawAnswer(response.status, response.headers, await response.read())
        except (TimeoutError, aiohttp.ClientError) as error:
            raise _translate(error, self._timeout_seconds) from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()


def _proxy_of(url: str) -> str | None:
    """The proxy that HTTPS_PROXY and its kin name for a URL; asked once, since aiohttp's own way asks in a thread for
    each request.
    """
    parts = urlsplit(url)
    if parts.hostname is None or proxy_bypass(parts.hostname):
        return None
    return getproxies().get(parts.scheme)


def _translate(error: Exception, timeout_seconds: float) -> TransportError:
    """How an attempt without an answer ended."""
    detail = f"{type(error).__name__}: {error}".rstrip(": ")
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | aiohttp.InvalidURL):
        return TransportError("connection", f"the provider can't be reached ({detail})", was_sent=False)
    if isinstance(error, TimeoutError):
        return TransportError("timeout", f"no answer within {timeout_seconds:g} s", was_sent=True)
    return TransportError("connection", f"the connection broke ({detail})", was_sent=True)
