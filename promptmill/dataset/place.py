"""A URL of an input: the files at it, and what each of them is."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast
from urllib.parse import unquote

import fsspec
from fsspec import get_filesystem_class
from fsspec.core import split_protocol
from fsspec.implementations.local import LocalFileSystem

from promptmill.allowed_urls import require_allowed
from promptmill.dataset.delta import read_delta
from promptmill.dataset.finding import Found, find, is_marker, partitions_of, without_output
from promptmill.dataset.formats import WEAK, format_of, suffix_of, without_sheet
from promptmill.dataset.iceberg import METADATA, read_iceberg
from promptmill.dataset.streams import refuse_bomb
from promptmill.dataset.table_address import DELTA_LOG, TableAddress, TableKind, folder_around, table_address, tables_in
from promptmill.dataset.table_version import Partitions, TableVersion
from promptmill.errors import DatasetError
from promptmill.job.spec import Input
from promptmill.places import shown_place, shown_places
from promptmill.public_url import public_text
from promptmill.storage import STORAGE_ERRORS, open_filesystem

_TAGS = (
    "ETag",
    "mtime",
    "created",
    "LastModified",
    "etag",
    "blob_id",
    "last_modified",
)  # of S3, disks, …, az://, hf://


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file of an input."""

    path: str  # as its filesystem knows it
    bytes: int
    version: str  # changes with the content, as far as the storage can tell
    shown: str  # the path as people may see it
    partitions: tuple[tuple[str, str | None], ...] = ()  # columns that its folders stand for
    place: int = 0  # which of the input's URLs it was found at
    sheet: str | None = None  # of a workbook, where the URL names one


@dataclass(frozen=True, slots=True)
class Place:
    """A URL of an input, and the files there."""

    url: str
    fs: fsspec.AbstractFileSystem
    found: Found
    sheet: str | None = None  # that the URL names
    table: TableVersion | None = None  # whose files these are
    partitions: Mapping[str, Partitions] = field(default_factory=dict[str, Partitions])  # of a table's files


def look(url: str, spec: Input, output: str | None, pinned: str | None = None) -> Place:
    """The files at a URL that may be inputs; `pinned` is the version that a table is read at, unless the URL names one.

    Raises: DatasetError when there are none.
    """
    with translated([url]):
        file_url, sheet = without_sheet(url)
        address = table_address(file_url)
        fs, root = open_filesystem(file_url if address is None else address.url, "input.url")
        if address is not None:
            return _table_at(url, address, fs, root, address.version if address.version is not None else pinned)
        found = find(fs, root)
        if url.startswith("file:") and not found.paths:  # as pathlib and browsers write it: a%20b.csv
            root = unquote(root)
            require_allowed(root, "input.url")
            found = find(fs, root)
        if kind := _table_in(url, fs, root, found):
            return _table_at(url, TableAddress(kind, url), fs, root, pinned)
        paths = found.paths if output is None else _without(fs, found, output)
        return Place(url, fs, replace(found, paths=_inputs(url, spec, found, paths)), sheet)


def _table_in(url: str, fs: fsspec.AbstractFileSystem, root: str, found: Found) -> TableKind | None:
    """What kind of table a folder is; None if it is none. Raises: DatasetError when a table lies around or inside it."""
    tables = tables_in(found)
    around = folder_around(found.root)
    if found.is_listed and around != found.root.rstrip("/") and fs.exists(f"{around}/{DELTA_LOG}"):
        tables[around] = "delta"
    if found.is_listed and found.root != root and fs.exists(f"{found.root.rstrip('/')}/{DELTA_LOG}"):
        tables[found.root.rstrip("/")] = "delta"
    above, _, last = around.rpartition("/")
    if found.is_listed and last == "data" and fs.glob(f"{above}/metadata/*{METADATA}"):
        tables[above] = "iceberg"
    own = root.rstrip("/")
    if own in tables:
        return tables[own]
    for folder, kind in tables.items():
        raise DatasetError(
            f"{shown_place(url)} leads to the {kind.capitalize()} table {public_text(folder, url)}, in whose folder lie files "
            "that no longer belong to it (input.url). Give the folder of the table itself."
        )
    return None


def _table_at(url: str, address: TableAddress, fs: fsspec.AbstractFileSystem, root: str, version: str | None) -> Place:
    """The files of a table's version. Raises: DatasetError."""
    shown = shown_place(url)
    if address.kind == "delta":
        table = read_delta(address.url, root, version, shown)
    else:
        table = read_iceberg(address.url, fs, root, version, shown)
    if not table.files:
        raise DatasetError(
            f"{shown} has 0 rows at version {table.version}; at least 1 is needed (input.url). Give a table with rows."
        )
    infos = {file.path: {"size": file.bytes, "mtime": file.tag} for file in table.files}
    found = Found(root, [file.path for file in table.files], True, infos)
    return Place(url, fs, found, None, table, {file.path: file.partitions for file in table.files})


def _without(fs: fsspec.AbstractFileSystem, found: Found, output: str) -> Sequence[str]:
    """The files that don't lie in the output's folder."""
    try:
        other = get_filesystem_class(split_protocol(output)[0] or "file")
    except (ValueError, ImportError):
        return found.paths  # an error of the output's own
    return without_output(found, _path_in(other, output)) if isinstance(fs, other) else found.paths


def _path_in(kind: type[fsspec.AbstractFileSystem], url: str) -> str:
    return str(kind._strip_protocol(url))  # pyright: ignore[reportPrivateUsage] - it asks for no connection, unlike url_to_fs


def _inputs(url: str, spec: Input, found: Found, paths: Sequence[str]) -> list[str]:
    paths = [path for path in paths if not is_marker(path)]
    if spec.format == "auto" and found.is_listed:
        known = [path for path in paths if format_of(path) is not None]
        paths = [path for path in known if suffix_of(path) not in WEAK] or known or paths
    if not paths:
        raise DatasetError(
            f"no file was found at {shown_place(url)}; an input is a Parquet, CSV, JSONL or Excel file, or a directory "
            "or glob of such files (input.url). Check the address, and AWS_* for s3://."
        )
    return paths


def describe(place: Place, number: int, path: str) -> InputFile:
    """A file at one of the input's URLs, the one of this number. Raises: any of STORAGE_ERRORS; DatasetError."""
    fs, found, shown = place.fs, place.found, public_text(path, place.url)
    info = found.infos.get(path, {})
    if info.get("size") is None or isinstance(fs, LocalFileSystem):  # which lists a link, and not the file
        info = cast(dict[str, Any], fs.info(path))
    if info.get("type") == "other" and not found.is_listed:
        raise DatasetError(
            f"{shown} is a pipe or a device, and a run reads its input more than once (input.url). Write the rows to a file."
        )
    tag = next((info[key] for key in _TAGS if info.get(key)), "")
    if info.get("compress_size") is not None:  # a member of a zip file
        refuse_bomb(shown, int(info["compress_size"]), int(info.get("size") or 0))
    partitions = partitions_of(path, found.root) if place.table is None else place.partitions[path]
    return InputFile(path, int(info.get("size") or 0), str(tag), shown, partitions, number, place.sheet)


@contextmanager
def translated(urls: Sequence[str], file: InputFile | None = None) -> Generator[None]:
    """Turn storage errors into a DatasetError that a user can act on; `file` is the one that is read, of those at the URLs."""
    shown = shown_places(urls) if file is None else file.shown
    try:
        yield
    except FileNotFoundError as error:
        raise DatasetError(
            f"{shown} doesn't exist ({public_text(str(error), *urls)}); an input is an existing file, directory or "
            "glob (input.url). Check the address, and AWS_* for s3://."
        ) from error
    except ImportError as error:
        raise DatasetError(
            f"{shown} can't be read: its storage needs a package that isn't installed here (input.url). "
            f"{public_text(str(error), *urls)}."
        ) from error
    except (*STORAGE_ERRORS, ValueError, EOFError) as error:
        raise DatasetError(
            f"{shown} can't be read: {type(error).__name__}: {public_text(str(error), *urls)}. The run reads it from "
            "beginning to end (input.url). Check that the file is complete, that you may read it, and AWS_* for "
            "s3://."
        ) from error
