"""The first contact with the provider, free of charge: whether somebody answers at the address and takes the key.

`GET /models` is asked, which costs nothing. Many gateways don't know it, or refuse it to a key that may answer rows. So
only what proves that no request of a run can succeed is a problem: nobody listens there, or the key is refused in
OpenAI's own words.
"""

import http
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

import orjson

from promptmill.errors import CredentialsError, NoKeyFound, ProviderUnreachable
from promptmill.provider.access import Access, access_of
from promptmill.provider.credentials import Credentials
from promptmill.provider.redaction import redact
from promptmill.provider.redirects import moved_at_home
from promptmill.public_url import public_url
from promptmill.shorten import shorten

_TRIES = 3  # a name server or a gateway may stumble once
_PAUSE_SECONDS = 1.0
_TIMEOUT_SECONDS = 5.0
_MOST_REDIRECTS = 5
_MOST_BYTES = 64 * 1024  # of an error's body
_PROXY_SAYS_NO = "Tunnel connection failed"  # as http.client words it, Python 3.11


@dataclass(frozen=True, slots=True)
class Contact:
    """What the provider answered before anything was paid for."""

    found: str  # a sentence for a person
    problem: ProviderUnreachable | CredentialsError | None = None  # why no request of a run can succeed


def require_contact(credentials: Credentials) -> None:
    """Blocks. Raises: ProviderUnreachable when nobody is at the address; CredentialsError when the key is refused."""
    problem = first_contact(credentials).problem
    if problem is not None:
        raise problem


def contact_if_any(credentials: Credentials) -> Contact:
    """The first contact; without a key nobody is asked. Blocks. Raises: CredentialsError when they can't be used."""
    try:
        return first_contact(credentials)
    except NoKeyFound as error:
        return Contact("wasn't asked, since there is no key", error)


def first_contact(credentials: Credentials, pause: Callable[[float], None] = time.sleep) -> Contact:
    """Ask for the models. Blocks, for seconds where nobody answers. Raises: CredentialsError when they can't be used."""
    access = access_of(credentials)
    contact = _ask(access)
    for _ in range(_TRIES - 1):
        if not isinstance(contact.problem, ProviderUnreachable):
            break
        pause(_PAUSE_SECONDS)
        contact = _ask(access)
    return contact


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Hands a redirect back as an answer, so that the key goes nowhere by itself."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        """No other request."""


def _ask(access: Access) -> Contact:
    address = public_url(access.base_url)
    try:
        status, body = _get(access.address.url("models"), access)
    except urllib.error.URLError as error:
        if str(error.reason).startswith(_PROXY_SAYS_NO):
            return _silent(address)
        told = redact(shorten(str(error.reason) or type(error.reason).__name__, 300), access.secrets)
        return Contact(f"nobody answers at {address}", ProviderUnreachable(_unreachable(address, told)))
    except (OSError, http.client.HTTPException):
        return _silent(address)
    return _judge(status, body, address, access.secrets)


def _silent(address: str) -> Contact:
    return Contact(f"{address} was reached and gave no answer in time to a question about its models")


def _get(url: str, access: Access) -> tuple[int, bytes]:
    """Status and body of an answer, of an error's body the beginning. Raises: URLError; OSError; HTTPException."""
    opener = urllib.request.build_opener(_NoRedirects)
    for _ in range(_MOST_REDIRECTS):
        request = urllib.request.Request(url, headers=dict(access.headers))  # noqa: S310 - access_of takes http(s) only
        try:
            with opener.open(request, timeout=_TIMEOUT_SECONDS) as answer:
                return answer.status, b""
        except urllib.error.HTTPError as error:
            with error:
                moved_to = moved_at_home(url, error.code, error.headers.get("location", ""))
                if moved_to is None:
                    return error.code, error.read(_MOST_BYTES)
            url = moved_to
    return 0, b""


def _judge(status: int, body: bytes, address: str, secrets: tuple[str, ...]) -> Contact:
    """What an answer means for a run. Pure."""
    if 200 <= status < 300:
        return Contact(f"{address} answers this key (HTTP {status})")
    code, message = _told(body)
    if status == http.HTTPStatus.UNAUTHORIZED and code == "invalid_api_key":
        said = redact(shorten(f"HTTP {status}: {message}", 300), secrets)
        return Contact(f"{address} refuses the key", CredentialsError(_refused(address, said)))
    shown = f" (HTTP {status})" if status else ""
    return Contact(f"{address} is there; it tells this key nothing about its models{shown}")


def _told(body: bytes) -> tuple[object, object]:
    """Code and message of an error as OpenAI words it."""
    try:
        match orjson.loads(body):
            case {"error": {"code": code, "message": message}}:
                return code, message
            case _:
                pass
    except orjson.JSONDecodeError:
        pass
    return None, None


def _unreachable(address: str, told: str) -> str:
    return (
        f"nobody answers at {address}: {told}. Every row is sent there (OPENAI_BASE_URL, or the provider block's base_url), "
        "and nothing was sent yet. Correct the address, or start the server, then run the same command again."
    )


def _refused(address: str, said: str) -> str:
    return (
        f"the provider at {address} refuses the key: {said}. Every request takes it (OPENAI_API_KEY, or the provider "
        "block's api_key), and nothing was sent yet. Give a key that it takes, then run the same command again."
    )
