"""Places as errors name them: URLs without their secrets, and relative paths as the absolute ones that they mean here."""

import os

from promptmill.public_url import public_url


def shown_place(url: str) -> str:
    """A URL, or a path on this machine, as people may see it."""
    return public_url(url) if "://" in url or "::" in url else os.path.abspath(url)
