"""One attempt over the wire: bytes to the provider, status, headers and bytes back.

The openai client supplies what is its to know (base URL, key, organisation, headers, TLS, proxies) and the connection
pool; its request and response models are left out, since they take four fifths of its time on the client's processor
(benchmarks/README.md) and its retries would pass by our limits. Its own retries are off for the same reason.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

import aiohttp
import httpx2
import openai
from openai import AsyncOpenAI, DefaultAioHttpClient

from promptmill.errors import CredentialsError
from promptmill.job import Endpoint
from promptmill.wire import PATHS

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


def make_sdk(credentials: Credentials, http_client: httpx2.AsyncClient | None = None) -> AsyncOpenAI:
    """The openai client, its own retries off. Raises: CredentialsError when there is no key."""
    try:
        return AsyncOpenAI(
            api_key=credentials.api_key,
            base_url=credentials.base_url,
            organization=credentials.organization,
            project=credentials.project,
            default_headers=dict(credentials.default_headers or {}),
            max_retries=0,
            http_client=http_client,
        )
    except openai.OpenAIError as error:
        raise CredentialsError(
            "no API key was found; OPENAI_API_KEY (with OPENAI_BASE_URL for another provider) or the job's `provider` "
            "block must hold one. Export OPENAI_API_KEY, or any word for a local server that asks for none."
        ) from error


class Transport:
    """A pool of connections to one endpoint; make it and close it on the event loop that uses it."""

    def __init__(self, credentials: Credentials, endpoint: Endpoint, max_connections: int, timeout_seconds: float):
        limits = httpx2.Limits(max_connections=max_connections, max_keepalive_connections=max_connections)
        self._http = DefaultAioHttpClient(
            limits=limits, timeout=httpx2.Timeout(timeout_seconds, connect=min(CONNECT_SECONDS, timeout_seconds))
        )
        self._sdk = make_sdk(credentials, self._http)
        self._timeout_seconds = timeout_seconds
        self._url = httpx2.URL(f"{str(self._sdk.base_url).rstrip('/')}/{PATHS[endpoint]}")
        named = {**self._sdk.auth_headers, **self._sdk.default_headers}
        self._headers = {name: value for name, value in named.items() if isinstance(value, str)}

    async def post(self, body: bytes) -> RawAnswer:
        """Send one request, whatever its status the answer. Raises: TransportError when none came in time."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                response = await self._http.post(self._url, content=body, headers=self._headers)
        except (TimeoutError, httpx2.TransportError, httpx2.DecodingError) as error:
            raise _translate(error, self._timeout_seconds) from error
        return RawAnswer(response.status_code, response.headers, response.content)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._sdk.close()


def _translate(error: Exception, timeout_seconds: float) -> TransportError:
    """aiohttp's broken connections arrive as httpx2 *timeouts* (openai 3.54), so the cause is asked first."""
    cause = error.__cause__
    detail = f"{type(cause or error).__name__}: {cause or error}".rstrip(": ")
    if isinstance(error, httpx2.ConnectError) or isinstance(cause, aiohttp.ClientConnectorError):
        return TransportError("connection", f"the provider can't be reached ({detail})", was_sent=False)
    if isinstance(cause, aiohttp.ClientConnectionError) and not isinstance(cause, TimeoutError):
        return TransportError("connection", f"the connection broke ({detail})", was_sent=True)
    if isinstance(error, TimeoutError | httpx2.TimeoutException):
        return TransportError("timeout", f"no answer within {timeout_seconds:g} s", was_sent=True)
    return TransportError("connection", f"the connection broke ({detail})", was_sent=True)
