"""URLs as people, logs and published files may see them: without passwords, tokens and signatures. Pure.

Whatever computes an identity, or opens a file, uses the real URL. A query's values are hidden unless their name is known
to be harmless, since every storage has its own name for a signature (sig, X-Amz-Signature, X-Goog-Signature, token).
"""

import re

_HIDDEN = "***"
_HARMLESS = frozenset({"versionid", "version", "generation", "snapshot", "partnumber"})
_NAMED_CONTAINER = re.compile(r"(abfss?|wasbs?|adl)$")  # container@account: no secret
_AUTHORITY = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#\s@:]*:(?!\d+(?:[/?#]|$))[^@\s?#]*|[^/?#\s]*)@")
_QUERY = re.compile(r"[?#]\S*")
_PAIR = re.compile(r"([?&;#])([^=&;?#\s]+)=([^&;#\s'\"]*)")


def public_url(url: str) -> str:
    """The URL without userinfo and without the values of its query; equal to it where it holds no secret."""
    if "://" not in url:
        return url
    return _QUERY.sub(lambda query: _PAIR.sub(_hide_value, query[0]), _AUTHORITY.sub(_drop_userinfo, url))


def public_text(text: str, *urls: str) -> str:
    """A text, such as a storage's error, in which these URLs and all others it names are public ones."""
    for url in urls:
        text = text.replace(url, public_url(url))
    return public_url(text)


def _drop_userinfo(found: re.Match[str]) -> str:
    scheme, userinfo = found[1], found[2]
    is_container = _NAMED_CONTAINER.fullmatch(scheme) is not None and ":" not in userinfo
    return found[0] if is_container else f"{scheme}://"


def _hide_value(found: re.Match[str]) -> str:
    return found[0] if found[2].lower() in _HARMLESS else f"{found[1]}{found[2]}={_HIDDEN}"
