"""Which chunks of a run are under way, and whether another may start. One event loop.

A chunk ends with its slowest row. If the next chunk waited for that, a few rows that hang until their timeout would leave
most places for requests in flight empty. So only those chunks count that still have rows to send; a chunk that merely waits
for answers gives its place on. What such chunks hold is bounded: their number, and the bytes of their rows.
Of those with rows to send one sends at a time, and the others are ready to go on at once.
"""

import asyncio

_MOST_UNFINISHED = 500  # chunks
_MOST_BYTES = 128_000_000  # of the rows of unfinished chunks


class Admission:
    """The chunks under way."""

    def __init__(self, at_once: int) -> None:
        """`at_once` chunks may have rows to send, however large they are."""
        self._at_once = at_once
        self._bytes: dict[str, int] = {}  # chunk key → of its rows
        self._waiting: set[str] = set()  # chunks whose rows are all sent
        self.changed = asyncio.Event()  # set whenever there may be room again
        self.turn = asyncio.Lock()  # to send: held by the chunk whose rows go out

    @property
    def has_room(self) -> bool:
        """Whether another chunk may start."""
        if len(self._bytes) < self._at_once:
            return True
        if len(self._bytes) - len(self._waiting) >= self._at_once:
            return False
        return len(self._bytes) < _MOST_UNFINISHED and sum(self._bytes.values()) < _MOST_BYTES

    def began(self, key: str, size: int) -> None:
        """A chunk is under way; its rows take so many bytes."""
        self._bytes[key] = size

    def sends(self, key: str) -> None:
        """A chunk has rows to send, maybe again."""
        self._waiting.discard(key)

    def waits(self, key: str) -> None:
        """A chunk has sent all its rows and waits for the last answers."""
        if key in self._bytes:
            self._waiting.add(key)
            self.changed.set()

    def ended(self, key: str) -> None:
        """A chunk is no longer under way."""
        self._bytes.pop(key, None)
        self._waiting.discard(key)
        self.changed.set()
