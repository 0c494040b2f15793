"""A storage that is away for a while."""

import errno

from promptmill.storage import Storage


class Unreliable(Storage):
    """A storage whose next `failures` reads and listings fail."""

    failures = 0

    def read(self, name: str) -> bytes:
        """As of any storage, once it is back."""
        self._fail()
        return super().read(name)

    def sizes(self, under: str = "") -> dict[str, int]:
        """As of any storage, once it is back."""
        self._fail()
        return super().sizes(under)

    def _fail(self) -> None:
        if self.failures > 0:
            self.failures -= 1
            raise OSError(5, "away for a moment")


class Full(Storage):
    """A storage on a disk with room for so many bytes; objects that are removed give theirs back."""

    room = 0

    def write(self, name: str, data: bytes) -> None:
        """As of any storage, while there is room."""
        if sum(self.sizes().values()) + len(data) > self.room:
            raise OSError(errno.ENOSPC, "No space left on device", self.path(name))
        super().write(name, data)
