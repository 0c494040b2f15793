"""The files of an input: how they are found, and how they are opened."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import IO, Any, Literal, cast

import fsspec
from fsspec import get_filesystem_class
from fsspec.core import split_protocol
from fsspec.implementations.local import LocalFileSystem

from promptmill.allowed_urls import require_allowed
from promptmill.dataset.finding import Found, find, is_marker, partitions_of, path_of, without_output
from promptmill.dataset.streams import COMPRESSIONS, open_stream, refuse_bomb
from promptmill.errors import DatasetError
from promptmill.job.spec import Input
from promptmill.places import shown_place
from promptmill.public_url import public_text
from promptmill.storage import STORAGE_ERRORS, open_filesystem

_Format = Literal["parquet", "csv", "jsonl"]
_FORMATS: tuple[_Format, ...] = ("parquet", "csv", "jsonl")
_SUFFIXES: dict[str, _Format] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
_WEAK = (".tsv", ".tab", ".txt")  # beside files of other suffixes they are notes rather than data


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file of an input."""

    path: str  # as its filesystem knows it
    bytes: int
    version: str  # changes with the content, as far as the storage can tell
    shown: str  # the path as people may see it
    partitions: tuple[tuple[str, str | None], ...] = ()  # columns that its folders stand for


def _suffix_of(path: str) -> str:
    """A path's suffix, without that of a compression."""
    name = PurePosixPath(path_of(path))
    if name.suffix.lower() in COMPRESSIONS:
        name = name.with_suffix("")
    return name.suffix.lower()


def _format_of(path: str) -> _Format | None:
    """The format that a path's suffix stands for, whether or not the file is compressed."""
    return _SUFFIXES.get(_suffix_of(path))


class Files:
    """The files of an input, in order, and their filesystem; files without a byte are left out.

    What is in `output`, the folder that the run publishes to, is no input. Raises: DatasetError when there are none.
    """

    def __init__(self, spec: Input, output: str | None = None) -> None:
        self.url = spec.url
        with translated(spec.url):
            self.fs, root = open_filesystem(spec.url, "input.url")
            found = find(self.fs, root)
            paths = _inputs(spec, found if output is None else replace(found, paths=_without(self.fs, found, output)))
        self.format: _Format = _one_format(spec, paths)
        kept = [path for path in paths if spec.format != "auto" or _format_of(path) == self.format]
        for path in (
            kept if isinstance(self.fs, LocalFileSystem) else ()
        ):  # a link in a listed folder may lead elsewhere
            require_allowed(path, "input.url")
        with translated(spec.url):
            described = [_describe(self.fs, path, public_text(path, spec.url), found.root) for path in kept]
        self.files = tuple(file for file in described if file.bytes or not found.is_listed)
        skipped = len(described) - len(self.files)
        if not self.files:
            raise DatasetError(
                f"{shown_place(spec.url)} has 0 rows: its {skipped:,} file(s) are empty; at least 1 row is needed (input.url). "
                "Give a dataset with rows."
            )
        self.notes = (f"{skipped:,} empty file(s) skipped",) if skipped else ()

    @contextmanager
    def open(self, file: InputFile) -> Generator[IO[bytes]]:
        """A file's bytes, decompressed when its suffix is that of a compression."""
        with self.fs.open(file.path, "rb") as opened, open_stream(opened, file.path, file.shown) as stream:
            yield stream


def _without(fs: fsspec.AbstractFileSystem, found: Found, output: str) -> Sequence[str]:
    """The files that don't lie in the output's folder."""
    try:
        other = get_filesystem_class(split_protocol(output)[0] or "file")
    except (ValueError, ImportError):
        return found.paths  # an error of the output's own
    return without_output(found, _path_in(other, output)) if isinstance(fs, other) else found.paths


def _path_in(kind: type[fsspec.AbstractFileSystem], url: str) -> str:
    return str(kind._strip_protocol(url))  # pyright: ignore[reportPrivateUsage] - it asks for no connection, unlike url_to_fs


def _inputs(spec: Input, found: Found) -> list[str]:
    paths = [path for path in found.paths if not is_marker(path)]
    if spec.format == "auto" and found.is_listed:
        known = [path for path in paths if _format_of(path) is not None]
        paths = [path for path in known if _suffix_of(path) not in _WEAK] or known or paths
    if not paths:
        raise DatasetError(
            f"no file was found at {shown_place(spec.url)}; an input is a Parquet, CSV or JSONL file, or a directory "
            "or glob of such files (input.url). Check the address, and AWS_* for s3://."
        )
    return paths


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
            f"for CSV and JSONL also with {', '.join(COMPRESSIONS)} (input.format). Set input.format to parquet, csv or "
            "jsonl."
        )
    raise DatasetError(
        f"{shown_place(spec.url)} holds files of {' and '.join(known)}; a dataset has one format (input.format). Set "
        "input.format, or give a glob that matches one format only."
    )


def _describe(fs: fsspec.AbstractFileSystem, path: str, shown: str, root: str) -> InputFile:
    info = cast(dict[str, Any], fs.info(path))
    tag = info.get("ETag") or info.get("mtime") or info.get("created") or info.get("LastModified") or ""
    if info.get("compress_size") is not None:  # a member of a zip file
        refuse_bomb(shown, int(info["compress_size"]), int(info.get("size") or 0))
    return InputFile(path, int(info.get("size") or 0), str(tag), shown, partitions_of(path, root))


@contextmanager
def translated(url: str, file: InputFile | None = None) -> Generator[None]:
    """Turn storage errors into a DatasetError that a user can act on; `file` is the one that is read, of those at the URL."""
    shown = shown_place(url) if file is None else file.shown
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
