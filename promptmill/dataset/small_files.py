"""Small files on other machines, read whole and many at once: one request a file, where a footer and rows take three.

We keep them in memory as far as there is room, since a run reads its input three times. Storage answers after 20 ms or
more, however small the file is: ten thousand files, one after the other, took three minutes to look at.
"""

from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING, cast

import fsspec
from fsspec.asyn import AsyncFileSystem

from promptmill.dataset.finding import is_s3

if TYPE_CHECKING:
    from promptmill.presigned_s3 import PresignedReads

_SMALL_BYTES = 1 << 20
_MOST_KEPT_BYTES = 64 << 20
_WINDOW_FILES = 2_048  # that are asked for together
_WINDOW_BYTES = 16 << 20
_AT_ONCE = 32  # requests that wait for an answer
_SIGNED_AT_ONCE = 100  # each costs little CPU, so that waiting is what is left
_MANY_FILES = 200  # from which on it pays to make a second client


class SmallFiles:
    """The small ones of these files. Safe to use from many threads."""

    def __init__(self, fs: fsspec.AbstractFileSystem, files: Sequence[tuple[str, int]]) -> None:
        """`files` are paths with their bytes, in the order in which they are read."""
        waits = isinstance(fs, AsyncFileSystem) and len(files) > 1  # such a filesystem asks for many files at once
        small = [(path, size) for path, size in files if waits and 0 < size <= _SMALL_BYTES]
        self._fs = fs
        self._files = small
        self._places = {path: place for place, (path, _) in enumerate(small)}
        self._kept: dict[str, bytes] = {}
        self._kept_bytes = 0
        self._window: dict[str, bytes] = {}  # the last ones asked for, where there is no room to keep them
        self._lock = Lock()
        self._signed = _signed_reads(fs) if len(small) >= _MANY_FILES else None

    def is_small(self, path: str) -> bool:
        """Whether a file is one of them."""
        return path in self._places

    def read(self, path: str) -> bytes | None:
        """A file's bytes; None when it isn't one of them. Raises: any of STORAGE_ERRORS."""
        if path not in self._places:
            return None
        with self._lock:
            if path not in self._kept and path not in self._window:
                self._fetch(self._places[path])
            return self._kept[path] if path in self._kept else self._window[path]

    def _fetch(self, place: int) -> None:
        """Read the file at a place and those after it."""
        wanted: list[tuple[str, int]] = []
        total = 0
        for path, size in self._files[place : place + _WINDOW_FILES]:
            if path in self._kept or (wanted and total + size > _WINDOW_BYTES):
                break
            wanted.append((path, size))
            total += size
        paths, ends = [path for path, _ in wanted], [size for _, size in wanted]
        found = None if self._signed is None else self._signed.read(paths, ends, _SIGNED_AT_ONCE)
        read = dict(zip(paths, self._read_plainly(paths, ends) if found is None else found, strict=True))
        if self._kept_bytes + total <= _MOST_KEPT_BYTES:
            self._kept |= read
            self._kept_bytes += total
        else:
            self._window = read

    def _read_plainly(self, paths: list[str], ends: list[int]) -> list[bytes]:
        found = self._fs.cat_ranges(paths, [0] * len(paths), ends, batch_size=_AT_ONCE, on_error="return")
        for answer, path, size in zip(cast(list[object], found), paths, ends, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            if len(cast(bytes, answer)) < size:
                raise OSError(f"{path} has become shorter since it was listed")
        return cast(list[bytes], found)


def _signed_reads(fs: fsspec.AbstractFileSystem) -> "PresignedReads | None":
    """The cheaper way to read many objects of S3; None for another storage."""
    if not is_s3(fs):
        return None
    from promptmill.presigned_s3 import PresignedReads
    from promptmill.renewing_s3 import RenewingS3  # both import botocore, which only S3 needs

    return PresignedReads(fs) if isinstance(fs, RenewingS3) else None
