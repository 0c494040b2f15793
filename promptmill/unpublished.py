"""Files that are written completely before anybody can see them, then made visible in one step.

On a local disk such a file has a temporary name until it's renamed. On an object store it's a multipart upload, which
lists nothing before it is completed. fsspec calls both a transaction; we hold each file ourselves, so that many can be
published side by side and one that fails can be told from the others.
"""

import os
import platform
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Protocol, cast

import fsspec
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractBufferedFile

from promptmill.processes import is_at_work, this_process

TEMPORARY_PREFIX = "_writing-"  # readers of datasets skip names with an underscore
_ABANDONED_SECONDS = 86_400.0  # a temporary file without its process's name is left alone for so long


def _file_mode() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


_FILE_MODE = _file_mode()  # of new local files; read once, since asking for the umask sets it for all threads


class UnpublishedFile(Protocol):
    """A file under way. `stream` takes its bytes; then call `finish` and `publish`, or `discard`."""

    stream: IO[bytes]

    def finish(self) -> None:
        """Bring every byte to the storage, where nobody sees the file yet."""
        ...

    def publish(self) -> None:
        """Make the file visible under its name; finishes it first where nobody did."""
        ...

    def discard(self) -> None:
        """Forget a file that isn't published; does nothing to one that is."""
        ...


class LocalFile:
    """A file beside its place on a local disk, flushed to the disk before it's renamed."""

    def __init__(self, path: str, put: Callable[[str, str], None] = os.replace) -> None:
        folder = os.path.dirname(path)
        os.makedirs(folder, exist_ok=True)
        prefix = f"{TEMPORARY_PREFIX}{platform.node()}~{os.getpid()}~"
        handle, self._temporary = tempfile.mkstemp(prefix=prefix, dir=folder)
        self.stream: IO[bytes] = os.fdopen(handle, "wb")
        self._path, self._put = path, put

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self.stream.write(data)

    def finish(self) -> None:
        """Bring every byte to the disk."""
        if not self.stream.closed:
            self.stream.flush()
            os.fsync(self.stream.fileno())
            self.stream.close()
            os.chmod(self._temporary, _FILE_MODE)

    def publish(self) -> None:
        """Give the file its name."""
        self.finish()
        self._put(self._temporary, self._path)

    def discard(self) -> None:
        """Remove the temporary name, if it's still there."""
        with suppress(OSError):
            self.stream.close()
        with suppress(OSError):
            os.unlink(self._temporary)


class RemoteFile:
    """An upload that is completed when the file is published; aborted when it's discarded."""

    def __init__(self, fs: fsspec.AbstractFileSystem, path: str) -> None:
        self._fs, self._path = fs, path
        # fsspec's memory storage shows a file once it is opened: ours is spooled to the disk and copied at the end
        is_spooled = isinstance(fs, MemoryFileSystem)
        opened: Any = tempfile.TemporaryFile() if is_spooled else fs.open(path, "wb", autocommit=False)  # noqa: SIM115
        self.stream = cast(IO[bytes], opened)

    def finish(self) -> None:
        """Upload the last bytes."""
        if isinstance(self.stream, AbstractBufferedFile):
            self.stream.close()
        else:
            self.stream.flush()

    def publish(self) -> None:
        """Complete the upload."""
        self.finish()
        if isinstance(self.stream, AbstractBufferedFile):
            self.stream.commit()
            cast(Any, self.stream).mpu = None  # a later `discard` has nothing to abort
            return
        self.stream.seek(0)
        self._fs.pipe_file(self._path, self.stream.read())
        self.stream.close()

    def discard(self) -> None:
        """Abort the upload."""
        if isinstance(self.stream, AbstractBufferedFile):
            self.stream.forced = True  # else s3fs begins another upload when the discarded file is collected
            cast(Any, self.stream).closed = True
            self.stream.discard()
        else:
            self.stream.close()


def remove_abandoned(folder: str, now: float) -> None:
    """Remove temporary files right in a local folder whose process no longer works on them. Raises: OSError."""
    for path in Path(folder).glob(f"{TEMPORARY_PREFIX}*"):
        with suppress(FileNotFoundError):
            age = now - path.stat().st_mtime
            owner = path.name.removeprefix(TEMPORARY_PREFIX).rpartition("~")[0].replace("~", ":")
            is_old = age > _ABANDONED_SECONDS
            if is_old or (owner and owner != this_process() and not is_at_work(owner, age)):
                path.unlink()
