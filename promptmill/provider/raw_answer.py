"""What comes back over the wire, and the ways in which nothing does."""

from collections.abc import Mapping
from typing import Protocol

from promptmill.record import record


@record
class RawAnswer:
    """What came back."""

    status: int
    headers: Mapping[str, str]  # names in lower case; of one that came twice, the first
    content: bytes


class Unreached(Exception):
    """No connection came about, so that nothing was sent."""


class Broken(Exception):
    """The connection broke, or what came isn't HTTP; `partial` is what came of an answer whose status is known."""

    def __init__(self, reason: str, partial: RawAnswer | None = None) -> None:
        super().__init__(reason)
        self.partial = partial


class AnswerTooLarge(Exception):
    """The body grew past the limit."""


class Carrier(Protocol):
    """What takes bytes to the provider and back: straight, or through a proxy."""

    def set_headers(self, headers: Mapping[str, str]) -> None:
        """Send these from now on."""
        ...

    async def post(self, url: str, body: bytes) -> RawAnswer:
        """The answer, whatever its status, its body as it was sent. Raises: Unreached, Broken, AnswerTooLarge, TimeoutError."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
