"""One attempt over the wire: bytes to the provider, status, headers and bytes back.

The openai client isn't what sends: a bare loop over its own calls takes more CPU than all that Promptmill does for a row
(`python -m benchmarks lean`), and its retries would bypass our limits. Bytes go over connections of our own (direct.py), or
by aiohttp where there is a proxy (proxied.py).
"""

import asyncio
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, Self
from urllib.parse import parse_qsl

from promptmill.errors import CredentialsError
from promptmill.job.spec import Endpoint
from promptmill.provider.access import access_of, proxy_of
from promptmill.provider.body_parser import MOST_ANSWER_BYTES, NoJson, TooManyBytes, parse_body, unzipped
from promptmill.provider.credentials import Credentials, usable
from promptmill.provider.direct import Direct
from promptmill.provider.raw_answer import AnswerTooLarge, Broken, Carrier, RawAnswer, Unreached
from promptmill.provider.redaction import redact
from promptmill.provider.redirects import moved_at_home
from promptmill.provider.response_body import PATHS

if TYPE_CHECKING:  # only batches and the doctor use it
    from openai import OpenAI

__all__ = [
    "Credentials",  # most import it together with what sends
    "RawAnswer",
    "Transport",
    "TransportError",
    "known_secrets",
    "make_blocking_sdk",
]

_CONNECT_SECONDS = 15.0
_MOST_REDIRECTS = 5  # of one request; the address that they lead to is kept for all after it


Lost = Literal["timeout", "connection", "invalid_response"]


class TransportError(Exception):
    """The attempt brought no answer that can be used; `kind` says how it ended."""

    def __init__(self, kind: Lost, message: str, was_sent: bool) -> None:
        super().__init__(message)
        self.kind: Lost = kind
        self.was_sent = was_sent  # the provider may have done the work


class Sender(Protocol):
    """What carries one request to the provider; `Transport` outside of tests."""

    async def post(self, body: bytes) -> RawAnswer:
        """The answer, whatever its status. Raises: TransportError."""
        ...


def make_blocking_sdk(credentials: Credentials, secrets: list[str] | None = None) -> "OpenAI":
    """The openai client for worker threads, its own retries off; it follows no redirect to another origin.

    A key that may be renewed is looked up before each request, and then added to `secrets`.
    Raises: CredentialsError when key, headers or address can't be used.
    """
    from openai import OpenAI

    from promptmill.provider.home import HomeHttpClient

    found, access = usable(credentials), access_of(credentials)
    kept = [] if secrets is None else secrets
    kept.extend(access.secrets)

    def key() -> str:
        access = access_of(credentials)
        kept.extend(secret for secret in access.secrets if secret not in kept)
        return access.headers["Authorization"].removeprefix("Bearer ")

    own = {name: value for name, value in access.headers.items() if name == "api-key"}
    return OpenAI(
        api_key=key if credentials.is_renewable else found.api_key,
        base_url=access.base_url,
        organization=found.organization,
        project=found.project,
        default_headers={**own, **(found.default_headers or {})},
        default_query=dict(parse_qsl(access.address.query)) or None,
        max_retries=0,
        http_client=HomeHttpClient(),
    )


def known_secrets(credentials: Credentials) -> tuple[str, ...]:
    """The secrets of credentials, for callers that send nothing; none where the credentials can't be used."""
    try:
        return access_of(credentials).secrets
    except CredentialsError:
        return ()


class Transport:
    """A pool of connections to one endpoint; make it and close it on the event loop that uses it."""

    def __init__(
        self,
        credentials: Credentials,
        endpoint: Endpoint,
        max_connections: int,
        timeout_seconds: float,
        model: str = "",
    ) -> None:
        """`model`: as it is sent; an address may hold it."""
        access = access_of(credentials)
        self._url = access.address.url(PATHS[endpoint], model)
        self.expires_at = access.expires_at  # when the key ends, where it says so; seconds since the epoch
        self.secrets = list(access.secrets)  # grows with each key that is renewed
        self._timeout_seconds = timeout_seconds
        self._headers = {"Accept-Encoding": "gzip", **access.headers}
        self._carrier = self._open(max_connections)

    def _open(self, max_connections: int) -> Carrier:
        proxy = proxy_of(self._url)
        seconds, connect_seconds = self._timeout_seconds, min(_CONNECT_SECONDS, self._timeout_seconds)
        if proxy is None:
            return Direct(
                self._headers,
                most_connections=max_connections,
                timeout_seconds=seconds,
                connect_seconds=connect_seconds,
                most_bytes=MOST_ANSWER_BYTES,
            )
        from promptmill.provider.proxied import Proxied  # aiohttp takes a while to import, and few need it

        return Proxied(
            self._headers,
            proxy=proxy,
            most_connections=max_connections,
            timeout_seconds=seconds,
            connect_seconds=connect_seconds,
            most_bytes=MOST_ANSWER_BYTES,
        )

    async def post(self, body: bytes) -> RawAnswer:
        """The answer to one request, whatever its status. Raises: TransportError when none came in time.

        A redirect on the same host is followed with method and body; one that leads elsewhere is the answer.
        """
        url = self._url
        for _ in range(_MOST_REDIRECTS):
            answer = await self._post_once(url, body)
            moved_to = moved_at_home(url, answer.status, answer.headers.get("location", ""))
            if moved_to is None:
                self._url = url
                return answer
            url = moved_to
        raise TransportError("connection", f"the provider redirects more than {_MOST_REDIRECTS} times", was_sent=True)

    async def renew(self, credentials: Credentials) -> bool:
        """Send the key and headers of these credentials from now on; False when they are those that are sent already.

        The address stays. Raises: CredentialsError when they can't be used.
        """
        access = await asyncio.to_thread(access_of, credentials)
        if all(self._headers.get(name) == value for name, value in access.headers.items()):
            return False
        self._headers = {**self._headers, **access.headers}
        self._carrier.set_headers(self._headers)
        self.secrets.extend(access.secrets)
        self.expires_at = access.expires_at
        return True

    async def _post_once(self, url: str, body: bytes) -> RawAnswer:
        try:
            return _unzipped(await self._carrier.post(url, body))
        except (AnswerTooLarge, TooManyBytes):
            raise TransportError(
                "invalid_response",
                f"the answer has more than {MOST_ANSWER_BYTES:,} bytes once decompressed, which is the limit",
                was_sent=True,
            ) from None
        except Broken as error:
            if error.partial is None or not _is_whole(error.partial.content):
                raise self._lost("the connection broke", error, was_sent=True) from None
            return error.partial
        except Unreached as error:
            raise self._lost("the provider can't be reached", error, was_sent=False) from None
        except TimeoutError:
            raise TransportError("timeout", f"no answer within {self._timeout_seconds:g} s", was_sent=True) from None

    def _lost(self, what: str, error: Exception, *, was_sent: bool) -> TransportError:
        return TransportError("connection", f"{what} ({redact(str(error), self.secrets)})", was_sent)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._carrier.close()


def _unzipped(answer: RawAnswer) -> RawAnswer:
    """An answer whose body isn't compressed. Raises: TooManyBytes."""
    try:
        content = unzipped(answer.content, MOST_ANSWER_BYTES)
    except TooManyBytes:
        raise
    except ValueError:  # damaged: it is read as it is, and found to be no answer
        return answer
    return answer if content is answer.content else replace(answer, content=content)


def _is_whole(content: bytes) -> bool:
    """Whether a body that ended too early is whole all the same, since only the end of its framing is missing."""
    try:
        parse_body(content)
    except NoJson:
        return False
    return True
