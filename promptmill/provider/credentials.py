"""How to reach a provider, checked before anything is sent.

A key with a blank or a line break at its end, as `echo` writes it into a file, is taken without it. What an HTTP library
would refuse later is refused here, since its message would quote the key.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from promptmill.errors import CredentialsError


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


def usable(credentials: Credentials) -> Credentials:
    """The credentials as they may be sent: the environment's key filled in, blanks around values cut off.

    Raises: CredentialsError when a value can't be sent or the address holds a name and password; it quotes none of them.
    """
    headers = {name.strip(): value.strip() for name, value in (credentials.default_headers or {}).items()}
    for name, value in headers.items():
        if not name.isascii() or not name.isprintable() or not _is_sendable(value):
            raise CredentialsError(
                f"the header {name!r} of the provider block has characters that HTTP can't send; only printable ASCII can "
                "be. Write the value again, without line breaks."
            )
    _refuse_address(credentials.base_url if credentials.base_url is not None else os.environ.get("OPENAI_BASE_URL"))
    base_url = None if credentials.base_url is None else credentials.base_url.strip()
    return replace(credentials, api_key=_usable_key(credentials.api_key), base_url=base_url, default_headers=headers)


def _usable_key(given: str | None) -> str | None:
    key = (given if given is not None else os.environ.get("OPENAI_API_KEY", "")).strip()
    if not key and given is not None:
        raise CredentialsError("the API key of the provider block is empty. Write the key into the block.")
    if not _is_sendable(key) or " " in key:
        raise CredentialsError(
            "the API key has characters that HTTP can't send, as line breaks or blanks inside it; a key is printable "
            "ASCII. Copy the key again into OPENAI_API_KEY or the job's provider block."
        )
    return key or None


def _is_sendable(value: str) -> bool:
    return value.isascii() and value.isprintable()


def _refuse_address(address: str | None) -> None:
    """Raises: CredentialsError unless the address is absent or an http(s) URL with a host and no name and password."""
    if address is None or not address.strip():
        return
    remedy = "Give OPENAI_BASE_URL, or the provider block's base_url, as https://host/v1."
    try:
        parts = urlsplit(address.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise CredentialsError(f"the provider's address isn't a URL. {remedy}") from None
    if parts.username is not None or parts.password is not None:
        raise CredentialsError(
            f"the provider's address holds a name or a password before {host}; it would be shown in messages, so only the "
            f"API key and the block's headers may be secret. {remedy}"
        )
    if parts.scheme not in {"http", "https"} or not host:
        raise CredentialsError(f"the provider's address must begin with http:// or https:// and name a host. {remedy}")
