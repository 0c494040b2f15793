"""Nothing more is sent while answers can't be saved, by whichever chunk of the run."""

import asyncio


class SaveGate:
    """Shut while some chunk has answers that couldn't be saved. One event loop.

    Chunks share the places for requests in flight. A chunk whose answers can't be saved gives its places back, and without
    the gate the others would fill them with requests whose answers couldn't be kept either. A chunk that waits here may find
    that its own answers can't be saved: it passes, since only its retry opens the gate again.
    """

    def __init__(self) -> None:
        self._failing: set[str] = set()
        self._has_changed = asyncio.Event()  # a new one after each change

    def shut(self, key: str) -> None:
        """A chunk's answers couldn't be saved."""
        self._failing.add(key)
        self._tell()

    def open(self, key: str) -> None:
        """A chunk's answers are saved after all."""
        self._failing.discard(key)
        self._tell()

    @property
    def is_open(self) -> bool:
        """Whether all chunks could save what they had."""
        return not self._failing

    async def passing(self, key: str) -> None:
        """Wait until all chunks could save what they had, or until this chunk is one that couldn't."""
        while self._failing and key not in self._failing:
            await self._has_changed.wait()

    def _tell(self) -> None:
        self._has_changed.set()
        self._has_changed = asyncio.Event()
