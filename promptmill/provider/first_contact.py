"""The first contact with the provider, free of charge: whether somebody answers at the address and takes the key.

`GET /models` is asked, which costs nothing. Many gateways don't know it, or refuse it to a key that may answer rows. So
only what proves that no request of a run can succeed is a problem: nobody listens there, or the key is refused in
OpenAI's own words.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx2
import openai

from promptmill.errors import CredentialsError, ProviderUnreachable
from promptmill.provider.credentials import Credentials
from promptmill.provider.redaction import redact
from promptmill.provider.transport import make_blocking_sdk, sent_secrets
from promptmill.public_url import public_url
from promptmill.shorten import shorten

_TRIES = 3  # a name server or a gateway may stumble once
_PAUSE_SECONDS = 1.0
_TIMEOUT = httpx2.Timeout(5.0)
_NOBODY_LISTENS = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.UnsupportedProtocol)


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


def first_contact(credentials: Credentials, pause: Callable[[float], None] = time.sleep) -> Contact:
    """Ask for the models. Blocks, for seconds where nobody answers. Raises: CredentialsError when they can't be used."""
    with make_blocking_sdk(credentials).with_options(timeout=_TIMEOUT) as client:
        contact = _ask(client)
        for _ in range(_TRIES - 1):
            if not isinstance(contact.problem, ProviderUnreachable):
                break
            pause(_PAUSE_SECONDS)
            contact = _ask(client)
    return contact


def _ask(client: openai.OpenAI) -> Contact:
    address = public_url(str(client.base_url))
    try:
        models = client.models.with_raw_response.list()
    except openai.OpenAIError as error:
        return _judge(error, address, sent_secrets(client))
    return Contact(f"{address} answers this key (HTTP {models.http_response.status_code})")


def _judge(error: openai.OpenAIError, address: str, secrets: tuple[str, ...]) -> Contact:
    """What an error means for a run. Pure."""
    said = redact(shorten(str(error), 300), secrets)
    if isinstance(error, openai.APIConnectionError):
        cause = error.__cause__
        if not isinstance(cause, _NOBODY_LISTENS):
            return Contact(f"{address} was reached and gave no answer in time to a question about its models")
        told = redact(shorten(str(cause) or type(cause).__name__, 300), secrets)
        return Contact(f"nobody answers at {address}", ProviderUnreachable(_unreachable(address, told)))
    if isinstance(error, openai.AuthenticationError) and error.code == "invalid_api_key":
        return Contact(f"{address} refuses the key", CredentialsError(_refused(address, said)))
    status = f" (HTTP {error.status_code})" if isinstance(error, openai.APIStatusError) else ""
    return Contact(f"{address} is there; it tells this key nothing about its models{status}")


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
