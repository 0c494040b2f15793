"""Places as errors name them: URLs without their secrets, and relative paths as the absolute ones that they mean here."""

import os
from collections.abc import Sequence

from promptmill.public_url import public_url

_MOST_NAMED = 3


def shown_place(url: str) -> str:
    """A URL, or a path on this machine, as people may see it."""
    return public_url(url) if "://" in url or "::" in url else os.path.abspath(url)


def shown_places(urls: Sequence[str]) -> str:
    """URLs or paths, as people may see them; of many only the first are named."""
    named = [shown_place(url) for url in urls[:_MOST_NAMED]]
    more = len(urls) - len(named)
    return ", ".join([*named[:-1], f"{named[-1]} and {more:,} more"] if more else named)
