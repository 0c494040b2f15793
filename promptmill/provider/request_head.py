"""The head of a POST, as bytes: all but the length of the body is the same for each row of a run. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from promptmill.errors import CredentialsError

_OURS = frozenset({"content-length", "transfer-encoding", "connection"})  # how the body is framed isn't the caller's
_PATH_SAFE = "/%:@!$&'()*+,;=~-._"
_QUERY_SAFE = _PATH_SAFE + "?"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where connections go."""

    is_tls: bool
    host: str  # as it is looked up: ASCII, without brackets
    port: int


def origin_of(url: str) -> Origin:
    """The origin of an http(s) URL. Raises: ValueError where it has none."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("no http:// or https:// address with a host")
    return Origin(parts.scheme == "https", _ascii(parts.hostname), parts.port or _PORTS[parts.scheme])


def head_of(url: str, headers: Mapping[str, str]) -> bytes:
    """Request line and headers, up to the value of Content-Length. Raises: ValueError."""
    origin, parts = origin_of(url), urlsplit(url)
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    if origin.port != _PORTS["https" if origin.is_tls else "http"]:
        host = f"{host}:{origin.port}"
    target = quote(parts.path or "/", safe=_PATH_SAFE) + (
        f"?{quote(parts.query, safe=_QUERY_SAFE)}" if parts.query else ""
    )
    sent = {"host": ("Host", host), **{name.lower(): (name, value) for name, value in headers.items()}}
    lines = [f"{name}: {value}" for key, (name, value) in sent.items() if key not in _OURS]
    return "\r\n".join([f"POST {target} HTTP/1.1", *lines, "Content-Length: "]).encode()


def require_sendable(headers: Mapping[str, str]) -> Mapping[str, str]:
    """The headers. Raises: CredentialsError when one would end its line."""
    if any(character in text for header in headers.items() for text in header for character in "\r\n\0"):
        raise CredentialsError(
            "a header for the provider has a line break in its name or value, which HTTP can't send. Look at the provider "
            "block's headers and at OPENAI_CUSTOM_HEADERS, one header a line, and write them again."
        )
    return headers


def _ascii(host: str) -> str:
    """A host's name as the DNS knows it. Raises: ValueError (UnicodeError)."""
    return host if host.isascii() else host.encode("idna").decode()
