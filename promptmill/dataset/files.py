"""The files of an input: how they are found, and how they are opened."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any, Literal, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from promptmill.allowed_urls import require_allowed
from promptmill.dataset.streams import open_stream, refuse_bomb
from promptmill.errors import DatasetError
from promptmill.job.spec import Input
from promptmill.public_url import public_text, public_url
from promptmill.storage import STORAGE_ERRORS, open_filesystem

_Format = Literal["parquet", "csv", "jsonl"]
_FORMATS: tuple[_Format, ...] = ("parquet", "csv", "jsonl")
_SUFFIXES: dict[str, _Format] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
_COMPRESSIONS = (".gz", ".zst")


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file of an input."""

    path: str  # as its filesystem knows it
    bytes: int
    version: str  # changes with the content, as far as the storage can tell
    shown: str  # the path as people may see it


def _format_of(path: str) -> _Format | None:
    """The format that a path's suffix stands for, whether or not the file is compressed."""
    name = PurePosixPath(path)
    if name.suffix in _COMPRESSIONS:
        name = name.with_suffix("")
    return _SUFFIXES.get(name.suffix.lower())


class Files:
    """The files of an input, in order, and their filesystem. Raises: DatasetError when there are none."""

    def __init__(self, spec: Input) -> None:
        self.url = spec.url
        with translated(spec.url):
            self.fs, root = open_filesystem(spec.url, "input.url")
            found = _find(self.fs, root, spec)
        self.format: _Format = _one_format(spec, found)
        kept = [path for path in found if spec.format != "auto" or _format_of(path) == self.format]
        for path in (
            kept if isinstance(self.fs, LocalFileSystem) else ()
        ):  # a link in a listed folder may lead elsewhere
            require_allowed(path, "input.url")
        with translated(spec.url):
            self.files = tuple(_describe(self.fs, path, public_text(path, spec.url)) for path in kept)

    @contextmanager
    def open(self, file: InputFile) -> Generator[IO[bytes]]:
        """A file's bytes, decompressed when its suffix is that of a compression."""
        with self.fs.open(file.path, "rb") as opened, open_stream(opened, file.path, file.shown) as stream:
            yield stream


def _find(fs: fsspec.AbstractFileSystem, root: str, spec: Input) -> Sequence[str]:
    if any(sign in root for sign in "*?["):
        found = cast(list[str], sorted(fs.glob(root)))
        found = [path for path in found if not fs.isdir(path)]
    elif fs.isdir(root):
        found = [path for path in cast(list[str], sorted(fs.find(root))) if _is_shown(path, root)]
        if spec.format == "auto":
            found = [path for path in found if _format_of(path) is not None]
    else:
        found = [root] if fs.exists(root) else []
    if not found:
        raise DatasetError(
            f"no file was found at {public_url(spec.url)}; an input is a Parquet, CSV or JSONL file, or a directory "
            "or glob of such files (input.url). Check the address, and AWS_* for s3://."
        )
    return found


def _is_shown(path: str, root: str) -> bool:
    """Whether no part of the path below the root begins with _ or a dot, as writers name files that hold no data."""
    return not any(part.startswith(("_", ".")) for part in PurePosixPath(path[len(root) :].strip("/")).parts)


def _one_format(spec: Input, paths: Sequence[str]) -> _Format:
    if spec.format != "auto":
        return spec.format
    formats = {path: _format_of(path) for path in paths}
    known: list[_Format] = [name for name in _FORMATS if name in formats.values()]
    if len(known) == 1:
        return known[0]
    if not known:
        raise DatasetError(
            f"{public_text(paths[0], spec.url)} has a suffix that names no format; known are {', '.join(_SUFFIXES)}, "
            "for CSV and JSONL also with .gz or .zst (input.format). Set input.format to parquet, csv or jsonl."
        )
    raise DatasetError(
        f"{public_url(spec.url)} holds files of {' and '.join(known)}; a dataset has one format (input.format). Set "
        "input.format, or give a glob that matches one format only."
    )


def _describe(fs: fsspec.AbstractFileSystem, path: str, shown: str) -> InputFile:
    info = cast(dict[str, Any], fs.info(path))
    tag = info.get("ETag") or info.get("mtime") or info.get("created") or info.get("LastModified") or ""
    if info.get("compress_size") is not None:  # a member of a zip file
        refuse_bomb(shown, int(info["compress_size"]), int(info.get("size") or 0))
    return InputFile(path, int(info.get("size") or 0), str(tag), shown)


@contextmanager
def translated(url: str, file: InputFile | None = None) -> Generator[None]:
    """Turn storage errors into a DatasetError that a user can act on; `file` is the one that is read, of those at the URL."""
    shown = public_url(url) if file is None else file.shown
    try:
        yield
    except FileNotFoundError as error:
        raise DatasetError(
            f"{shown} doesn't exist ({public_text(str(error), url)}); an input is an existing file, directory or "
            "glob (input.url). Check the address, and AWS_* for s3://."
        ) from error
    except (*STORAGE_ERRORS, ValueError, ImportError, EOFError) as error:
        raise DatasetError(
            f"{shown} can't be read: {type(error).__name__}: {public_text(str(error), url)}. The run reads it from "
            "beginning to end (input.url). Check that the file is complete, that you may read it, and AWS_* for "
            "s3://."
        ) from error
