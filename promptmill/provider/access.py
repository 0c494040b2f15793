"""Where requests go and which headers go with each, found as the openai SDK finds them.

The SDK itself would do, but to import it takes more CPU than to answer some hundred rows. A test compares the two over the
SDK's environment variables (openai 3.54, `lib/_client_auth.py`).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from promptmill.errors import CredentialsError, NoKeyFound
from promptmill.provider.addresses import Address, read_address
from promptmill.provider.credentials import Credentials, azure_address, usable
from promptmill.provider.redaction import secrets_of
from promptmill.provider.renewable_keys import expiry_of
from promptmill.version import VERSION

_OPENAI = "https://api.openai.com/v1"


@dataclass(frozen=True, slots=True, repr=False)
class Access:
    """How a provider is reached; `repr` shows nothing of it."""

    address: Address
    headers: Mapping[str, str]  # sent with every request, the key's among them
    secrets: tuple[str, ...]  # what to cut out of texts that come back (`redact`)
    expires_at: float | None = None  # when the key ends, where it says so; seconds since the epoch

    @property
    def base_url(self) -> str:
        """Where files, batches and models are; without a slash at its end."""
        return self.address.base_url


def access_of(credentials: Credentials) -> Access:
    """The access that credentials and environment give. Raises: CredentialsError; NoKeyFound without a key."""
    found = usable(credentials)
    if found.api_key is None:
        raise NoKeyFound(
            "no API key was found; OPENAI_API_KEY (with OPENAI_BASE_URL for another provider) or the job's `provider` "
            "block must hold one. Export OPENAI_API_KEY, or any word for a local server that asks for none."
        )
    address = read_address(address_in_environment() if found.base_url is None else found.base_url)
    expires_at = expiry_of(found.api_key)
    has_own_header = address.takes_api_key_header and not found.is_token and expires_at is None
    named = {
        "Accept": "application/json",
        "Content-Type": "application/json",
        "User-Agent": f"promptmill/{VERSION}",
        "OpenAI-Organization": _given(found.organization, "OPENAI_ORG_ID"),
        "OpenAI-Project": _given(found.project, "OPENAI_PROJECT_ID"),
        "api-key": found.api_key if has_own_header else None,
        **_headers_of_environment(),
        **(found.default_headers or {}),
        "Authorization": f"Bearer {found.api_key}",
    }
    headers = {name: value for name, value in named.items() if value is not None}
    return Access(address, headers, secrets_of(found.api_key, headers), expires_at)


def base_url_of(credentials: Credentials) -> str:
    """Where requests would go, also where there is no key yet. Raises: CredentialsError."""
    try:
        return access_of(credentials).base_url
    except NoKeyFound:
        found = credentials.base_url if credentials.base_url is not None else azure_address(credentials)
        return read_address(address_in_environment() if found is None else found).base_url


def address_in_environment() -> str:
    """Where requests go that no block sends elsewhere. Raises: CredentialsError when OPENAI_BASE_URL is empty."""
    base_url = os.environ.get("OPENAI_BASE_URL", _OPENAI)
    if not base_url.strip():  # OpenAI's own may be the last place where the rows should go
        raise CredentialsError(
            "OPENAI_BASE_URL is set and empty, so nobody knows where the rows should go. Give it as https://host/v1, or take "
            "the variable away for OpenAI's own address."
        )
    return base_url


def _given(value: str | None, variable: str) -> str | None:
    return value if value is not None else os.environ.get(variable)


def _headers_of_environment() -> dict[str, str]:
    """The headers that OPENAI_CUSTOM_HEADERS lists, one a line."""
    lines = (line.partition(":") for line in os.environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n"))
    return {name.strip(): value.strip() for name, colon, value in lines if colon}


def proxy_of(url: str) -> str | None:
    """The proxy that HTTPS_PROXY and the like name for a URL."""
    parts = urlsplit(url)
    if parts.hostname is None or proxy_bypass(parts.hostname):
        return None
    return getproxies().get(parts.scheme)
