"""How to reach a provider, checked before anything is sent.

A key with a blank or a line break at its end, as `echo` writes it into a file, is taken without it. What an HTTP library
would refuse later is refused here, since its message would quote the key.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from promptmill.errors import CredentialsError, NoKeyFound
from promptmill.provider.addresses import azure_endpoint
from promptmill.provider.renewable_keys import KEY_FILE_SETTING, has_renewable_key, renewable_key


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to reach a provider. Never a parameter, log line, result or artifact: `repr` shows nothing of it."""

    api_key: str | None = None  # None: the environment's, as `_from_environment` finds it
    base_url: str | None = None  # None: OPENAI_BASE_URL, else OpenAI's own
    organization: str | None = None
    project: str | None = None
    default_headers: Mapping[str, str] | None = None
    is_token: bool = False  # the key is an Entra ID token, which goes as a bearer only

    @property
    def is_renewable(self) -> bool:
        """Whether another key may be found when it is looked up once more, in this process's own environment."""
        return self.api_key is None and has_renewable_key()

    def __repr__(self) -> str:
        return "Credentials(…)"


def usable(credentials: Credentials) -> Credentials:
    """The credentials as they may be sent: the environment's key filled in, blanks around values cut off.

    Raises: CredentialsError when a value can't be sent or the address holds a name and password; it quotes none of them.
    """
    credentials = _from_environment(credentials)
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


def _from_environment(credentials: Credentials) -> Credentials:
    """The credentials with a renewable key, or Azure's address and key, where neither job nor environment names another.

    Raises: CredentialsError.
    """
    if credentials.api_key is not None:
        return credentials
    key = renewable_key()
    address = azure_address(credentials)
    if address is None:
        return replace(credentials, api_key=key)
    token = os.environ.get("AZURE_OPENAI_AD_TOKEN", "").strip()
    azure_key = os.environ.get("AZURE_OPENAI_API_KEY", "").strip()
    if key is None and azure_key:
        return replace(credentials, api_key=azure_key, base_url=address)
    if key is None and not token:
        raise NoKeyFound(
            f"AZURE_OPENAI_ENDPOINT names an address, and no key for it was found. Export AZURE_OPENAI_API_KEY, or give an "
            f"Entra ID token by AZURE_OPENAI_AD_TOKEN, by PROMPTMILL_KEY_COMMAND, or in the file that {KEY_FILE_SETTING} names."
        )
    return replace(credentials, api_key=token if key is None else key, base_url=address, is_token=key is None)


def azure_address(credentials: Credentials) -> str | None:
    """Azure's address in the environment; None where there is none, or job or environment name another provider.

    Raises: CredentialsError.
    """
    endpoint = os.environ.get("AZURE_OPENAI_ENDPOINT", "").strip()
    names_openai = os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL")
    if not endpoint or names_openai or credentials.base_url is not None:
        return None
    return azure_endpoint(endpoint, os.environ.get("OPENAI_API_VERSION", "").strip())


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
