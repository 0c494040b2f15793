"""Where a redirect leads, if key and rows may go there: to the same host, with method and body. Pure."""

from urllib.parse import SplitResult, urljoin, urlsplit

_REDIRECTS = frozenset({301, 302, 307, 308})  # a 303 asks for another method


def moved_at_home(url: str, status: int, location: str) -> str | None:
    """The address that a redirect leads to, if it is on the same host and no less safe; None for all other answers."""
    if status not in _REDIRECTS:
        return None
    try:
        target = urljoin(url, location)
        here, there = urlsplit(url), urlsplit(target)
        is_home = here.hostname == there.hostname and _port_of(here) == _port_of(there) and here.scheme == there.scheme
        is_safer = here.hostname == there.hostname and (here.scheme, there.scheme) == ("http", "https")
        return target if target != url and (is_home or (is_safer and there.port is None)) else None
    except ValueError:
        return None


def _port_of(parts: SplitResult) -> int | None:
    return parts.port if parts.port is not None else {"http": 80, "https": 443}.get(parts.scheme)
