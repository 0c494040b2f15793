"""URLs as people, logs and published files may see them: without passwords, tokens and signatures. Pure.

Whatever computes an identity, or opens a file, uses the real URL. A query's values are hidden unless their name is known
to be harmless, since every storage has its own name for a signature (sig, X-Amz-Signature, X-Goog-Signature, token).
"""

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote

_HIDDEN = "***"
_HARMLESS = frozenset({"versionid", "version", "generation", "snapshot", "partnumber", "table"})
_NAMED_CONTAINER = re.compile(r"(abfss?|wasbs?|adl)$")  # container@account: no secret
_AUTHORITY = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#\s@:]*:(?!\d+(?:[/?#]|$))[^@\s?#]*|[^/?#\s]*)@")
_QUERY = re.compile(r"[?#]\S*")
_PAIR = re.compile(r"([?&;#])([^=&;?#/\s]+)=([^&;#\s'\"]*)")
_SHORTEST_SECRET = 6  # characters; a shorter one is hidden where a URL has it, but a text may have it as a word
_BLANKS = {ord(blank): 0xE000 + at for at, blank in enumerate(" \t\r\n\"'")}  # they end a URL in a text, not one alone
_BACK = {stand_in: blank for blank, stand_in in _BLANKS.items()}


def public_url(url: str) -> str:
    """The URL without userinfo and without the values of its query; equal to it where it holds no secret."""
    return public_text(url.translate(_BLANKS)).translate(_BACK)


def public_text(text: str, *urls: str) -> str:
    """A text, such as a storage's error, in which all URLs are public ones.

    Of the URLs that are given, it hides the secrets also where they stand alone: some storages quote a path with its query
    and without its host.
    """
    for url in urls:
        text = text.replace(url, public_url(url))
        for secret in _secrets_of(url):
            text = text.replace(secret, _HIDDEN)
    if "://" not in text:
        return text
    return _QUERY.sub(lambda query: _PAIR.sub(_hide_value, query[0]), _AUTHORITY.sub(_drop_userinfo, text))


def _secrets_of(url: str) -> list[str]:
    """What `public_url` hides of a URL, in the spellings that a text may have; longest first."""
    alone = url.translate(_BLANKS)
    hidden = {found[2].partition(":")[2] or found[2] for found in _AUTHORITY.finditer(alone) if _has_secret(found)}
    for query in _QUERY.findall(alone) if "://" in url else ():
        hidden.update(found[3] for found in _PAIR.finditer(query) if not _is_harmless(found))
    spellings = {spelling for secret in hidden for spelling in _spellings_of(secret.translate(_BACK))}
    return sorted((secret for secret in spellings if len(secret) >= _SHORTEST_SECRET), key=len, reverse=True)


def _spellings_of(secret: str) -> Iterable[str]:
    plain = unquote(secret)
    return secret, plain, quote(plain, safe=""), quote(plain)


def _has_secret(authority: re.Match[str]) -> bool:
    return _NAMED_CONTAINER.fullmatch(authority[1]) is None or ":" in authority[2]


def _drop_userinfo(found: re.Match[str]) -> str:
    return f"{found[1]}://" if _has_secret(found) else found[0]


def _is_harmless(pair: re.Match[str]) -> bool:
    return pair[2].lower() in _HARMLESS


def _hide_value(found: re.Match[str]) -> str:
    return found[0] if _is_harmless(found) else f"{found[1]}{found[2]}={_HIDDEN}"
