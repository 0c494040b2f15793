"""A folder on any storage that fsspec knows: atomic writes, listings that aren't stale, errors of one kind.

Object stores publish an object whole or not at all. A local disk doesn't, so there we write a file under a temporary
name, flush it to the disk and rename it. We make folders on local disks only: an object store has none, and s3fs would
create a missing *bucket* on `makedirs`, where a missing bucket should be an error.
"""

import errno
import os
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import PurePosixPath
from typing import Any, cast
from urllib.parse import urlsplit

import fsspec
from fsspec.core import split_protocol, url_to_fs
from fsspec.implementations.local import LocalFileSystem

from promptmill.allowed_urls import client_options, require_allowed
from promptmill.public_url import public_text, public_url
from promptmill.s3_upload import UPLOAD_BLOCK_BYTES, S3Upload
from promptmill.unpublished import TEMPORARY_PREFIX, LocalFile, RemoteFile, UnpublishedFile

_OTHER_ERRORS = (("gcsfs", "gcsfs.retry", "HttpError"), ("adlfs", "azure.core.exceptions", "AzureError"))
_EXTRAS = {"hf": "hf", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az"}  # protocol → extra


def _storage_errors() -> tuple[type[Exception], ...]:
    """What storages raise beside OSError, of those whose package is installed."""
    found: list[type[Exception]] = [OSError]
    with suppress(ImportError):
        from botocore.exceptions import BotoCoreError, ClientError

        found += [BotoCoreError, ClientError]
    for package, module, name in _OTHER_ERRORS:
        if find_spec(package) is not None:
            found.append(cast(type[Exception], getattr(import_module(module), name)))
    return tuple(found)


STORAGE_ERRORS = _storage_errors()  # what any call of this module may raise
PROBE = "_probe-"  # what the names of objects begin with that only try the storage


def open_filesystem(url: str, place: str | None) -> tuple[fsspec.AbstractFileSystem, str]:
    """The filesystem of a URL and the path within it; S3 reads endpoint and credentials from the AWS_* variables.

    `place` is what names the URL: a key of the job or a parameter of the run. None: the operator's own setting.
    Raises: JobError when a deployed run may not use the URL; ValueError for a protocol nobody knows; ImportError when
    its package isn't installed.
    """
    if place is not None:
        require_allowed(url, place)
    _require_port(url)
    options: dict[str, Any] = {} if place is None else client_options(url)
    if url.startswith(("s3://", "s3a://")):
        return _open_s3(url)
    try:
        filesystem, path = url_to_fs(url, **options)
    except ImportError as error:
        extra = _EXTRAS.get(split_protocol(url)[0] or "")
        if extra is None:
            raise
        raise ImportError(f"{error}. It comes with the extra {extra!r}: pip install 'promptmill[{extra}]'") from error
    return cast(fsspec.AbstractFileSystem, filesystem), str(path)


def _open_s3(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    options: dict[str, Any] = {"use_listings_cache": False, "default_block_size": UPLOAD_BLOCK_BYTES}
    if "::" in url:
        filesystem, path = url_to_fs(url, **options)
    else:
        from promptmill.renewing_s3 import RenewingS3  # it imports botocore, which only S3 needs

        kind = cast(Any, RenewingS3)
        filesystem, path = kind(**options, **kind._get_kwargs_from_urls(url)), kind._strip_protocol(url)
    return cast(fsspec.AbstractFileSystem, filesystem), str(path)


def _require_port(url: str) -> None:
    """Raises: ValueError where what should be a port is the rest of a password, which the first request would quote."""
    try:
        _ = urlsplit(url).port
    except ValueError as error:
        raise ValueError("its port is no number; a slash in a password is written %2F") from error.__cause__


class Storage:
    """A folder at a URL. Names are relative to it, with slashes. Safe to use from many threads."""

    def __init__(self, url: str, place: str | None = "output.url") -> None:
        self.url = url.rstrip("/")
        self._place = place  # what names the URL; None: the operator's own setting
        self.fs, root = open_filesystem(self.url, place)
        self.root = root.rstrip("/")
        self.is_local = isinstance(self.fs, LocalFileSystem)

    @property
    def shown(self) -> str:
        """The folder's URL as people and files may see it: without passwords and signatures."""
        return public_url(self.url)

    def describe(self, error: BaseException) -> str:
        """An error's text without the secrets of this folder's URL."""
        return public_text(str(error), self.url)

    @property
    def place(self) -> str:
        """The folder's URL in the one spelling that all its others have."""
        return str(self.fs.unstrip_protocol(self.root))

    def path(self, name: str) -> str:
        """The path of a name as the filesystem knows it."""
        return f"{self.root}/{name}" if name else self.root

    def folder(self, name: str) -> "Storage":
        """The folder of that name inside this one."""
        return Storage(f"{self.url}/{name}", self._place)

    def read(self, name: str) -> bytes:
        """The bytes of an object. Raises: FileNotFoundError; any of STORAGE_ERRORS."""
        return cast(bytes, self.fs.cat_file(self.path(name)))

    def write(self, name: str, data: bytes) -> None:
        """Publish an object whole or not at all. Raises: any of STORAGE_ERRORS."""
        if self.is_local:
            write_whole(self.path(name), data)
        else:
            self.fs.pipe_file(self.path(name), data)

    def create(self, name: str, data: bytes) -> bool:
        """Publish an object only where there is none; False when there is one. Raises: any of STORAGE_ERRORS.

        A server may know no conditional writes. Then a look goes before the write, and what happens between the two isn't
        seen: `creates_once` tells.
        """
        try:
            return self._create_once(name, data)
        except OSError as error:
            if error.errno != errno.ENOSYS:  # s3fs 2026.9 says so for 501
                raise
        if self.fs.exists(self.path(name)):
            return self.read(name) == data
        self.write(name, data)
        return True

    def _create_once(self, name: str, data: bytes) -> bool:
        if self.is_local:
            try:
                write_whole(self.path(name), data, os.link)  # fails where there is one, unlike a rename
            except FileExistsError:
                return False
            return True
        try:
            self.fs.pipe_file(self.path(name), data, mode="create")
        except OSError:  # s3fs 2026.9 says EINVAL for 412; and an answer may be lost where the object was made
            if not self.fs.exists(self.path(name)):
                raise
            return self.read(name) == data
        return True

    def open_unpublished(self, name: str) -> UnpublishedFile:
        """A file to stream into, which nobody sees before its `publish`. Raises: any of STORAGE_ERRORS."""
        if self.is_local:
            return LocalFile(self.path(name))
        kind = S3Upload if hasattr(self.fs, "call_s3") else RemoteFile
        return kind(self.fs, self.path(name))

    def creates_once(self) -> bool:
        """Whether `create` can be relied upon: tried out, since a server may refuse the condition, or ignore it without a word.

        Raises: any of STORAGE_ERRORS when nothing can be written at all.
        """
        name = f"{PROBE}{secrets.token_hex(4)}"
        try:
            return self._create_once(name, b"first") and not self._create_once(name, b"second")
        except (*STORAGE_ERRORS, NotImplementedError, TypeError, ValueError):
            self.write(name, b"third")
            return False
        finally:
            self.delete([name])

    def delete(self, names: Iterable[str]) -> None:
        """Remove objects; those that aren't there are no error."""
        for name in names:
            with suppress(FileNotFoundError):
                self.fs.rm_file(self.path(name))

    def sizes(self, under: str = "") -> dict[str, int]:
        """Name → bytes of every object below a folder, at any depth; empty when there is none."""
        try:
            found = cast(dict[str, dict[str, Any]], self.fs.find(self.path(under), detail=True))
        except FileNotFoundError:
            return {}
        skip = len(self.root) + 1
        return {path[skip:]: int(info["size"]) for path, info in found.items() if not _is_temporary(path)}

    def require_bucket(self) -> None:
        """Raises: FileNotFoundError or PermissionError when the folder is in a bucket that isn't there or isn't ours.

        Asked outright, since some servers make a missing bucket when something is put into it.
        """
        if self.url.startswith(("s3://", "s3a://")):
            cast(Any, self.fs).call_s3("list_objects_v2", Bucket=self.root.split("/")[0], MaxKeys=1)


def write_whole(path: str, data: bytes, put: Callable[[str, str], None] = os.replace) -> None:
    """Write a local file whole or not at all, even while others write it. Raises: OSError."""
    file = LocalFile(path, put)
    try:
        file.write(data)
        file.publish()
    finally:
        file.discard()


def _is_temporary(path: str) -> bool:
    return PurePosixPath(path).name.startswith(TEMPORARY_PREFIX)
