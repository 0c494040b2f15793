"""Cuts secrets out of texts that come from a provider or an exception.

A provider, or a proxy before it, may quote the key it was sent. What enters Promptmill goes on into states, logs, stored
exceptions, failures and reports, so a secret is cut out where its text enters: error bodies, answers, batch results,
exceptions of the transport and of the Batch API.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote, quote_plus

import orjson

HIDDEN = "[redacted]"
_SHORTEST_SECRET = 8  # characters; shorter ones, such as "test" or "EMPTY" for a local server, are words and no secrets
_TOKEN_CHARACTERS = 16  # from here on a header's value of letters and digits is taken for a token, whatever its name
_SECRET_NAME = re.compile(r"auth|key|token|secret|cookie|sign|credential|passw|session", re.IGNORECASE)
_PUBLIC_NAMES = frozenset({"openai-organization", "openai-project", "user-agent", "content-type", "accept"})


def redact(text: str, secrets: Sequence[str]) -> str:
    """The text with each secret replaced by `[redacted]`."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return text


def secrets_of(api_key: str | None, headers: Mapping[str, str]) -> tuple[str, ...]:
    """What `redact` should look for, given the key and the headers that are sent; longest first.

    A header's value counts where its name says so (`api-key`, `Authorization`) or it looks like a token; a word such as
    `production` doesn't, since cutting that out would damage answers.
    """
    found = {api_key} if api_key is not None else set[str]()
    for name, value in headers.items():
        if name.lower() not in _PUBLIC_NAMES and (_SECRET_NAME.search(name) or _looks_like_token(value)):
            found.update(_parts_of(value))
    spellings = {spelling for secret in found for spelling in _spellings_of(secret) if len(secret) >= _SHORTEST_SECRET}
    return tuple(sorted(spellings, key=lambda spelling: (-len(spelling), spelling)))


def _looks_like_token(value: str) -> bool:
    is_mixed = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
    return len(value) >= _TOKEN_CHARACTERS and is_mixed and " " not in value


def _parts_of(value: str) -> Iterable[str]:
    """A header's value, and what follows a scheme such as `Bearer`; of `Basic`, name and password decoded too."""
    yield value
    scheme, _, rest = value.partition(" ")
    if rest:
        yield rest.strip()
    if scheme.lower() == "basic":
        try:
            decoded = base64.b64decode(rest, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return
        yield decoded
        yield decoded.partition(":")[2]


def _spellings_of(secret: str) -> Iterable[str]:
    """A secret as texts may quote it: as it is, in JSON, in a URL, in Python's `repr`."""
    yield secret
    yield orjson.dumps(secret).decode()[1:-1]
    yield quote(secret, safe="")
    yield quote_plus(secret)
    yield repr(secret)[1:-1]
