"""The files of an input: how they are found, and how they are opened."""

import io
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO, Any, TypeVar, cast

import fsspec
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from promptmill.allowed_urls import require_allowed
from promptmill.dataset.finding import is_s3
from promptmill.dataset.formats import FORMATS, SUFFIXES, Format, format_of
from promptmill.dataset.place import InputFile, Place, describe, look, translated
from promptmill.dataset.small_files import SmallFiles
from promptmill.dataset.streams import COMPRESSIONS, open_stream
from promptmill.dataset.table_version import shaped_by_ids
from promptmill.errors import DatasetError
from promptmill.job.spec import Input
from promptmill.places import shown_places
from promptmill.public_url import public_text, public_url

_AT_ONCE = 16  # large files on other machines that are looked into
_Found = TypeVar("_Found")


class Files:
    """The files of an input, in the order of its URLs and no file twice; files without a byte are left out.

    What is in `output`, the folder that the run publishes to, is no input. Raises: DatasetError when there are none.
    """

    def __init__(self, spec: Input, output: str | None = None, pinned: Mapping[str, str] | None = None) -> None:
        """`pinned`: the versions at which tables are read whose URL names none, by their public URL."""
        self.urls = spec.urls
        pins = {} if pinned is None else pinned
        self._places = [look(url, spec, output, pins.get(public_url(url))) for url in self.urls]
        tables = {place.url: place.table for place in self._places if place.table is not None}
        self.versions = {public_url(url): table.version for url, table in tables.items()}
        self.table_columns = {column.name: column.type for table in tables.values() for column in table.schema}
        self.format: Format = _one_format(spec, self._places)
        described = list(self._described(spec.format == "auto"))
        self.files = tuple(file for file in described if file.bytes or not self._may_be_empty(file))
        skipped = len(described) - len(self.files)
        if not self.files:
            raise DatasetError(
                f"{shown_places(spec.urls)} has 0 rows: its {skipped:,} file(s) are empty; at least 1 row is needed "
                "(input.url). Give a dataset with rows."
            )
        by_fs: dict[fsspec.AbstractFileSystem, list[tuple[str, int]]] = {}
        for file in self.files:
            by_fs.setdefault(self._fs_of(file), []).append((file.path, file.bytes))
        self._small = {fs: SmallFiles(fs, files) for fs, files in by_fs.items()}
        self.notes = (f"{skipped:,} empty file(s) skipped",) if skipped else ()

    def shaped(self, file: InputFile, schema: pa.Schema) -> pa.Schema:
        """The columns of a file as its table has them. Raises: DatasetError when it calls them otherwise."""
        table = self._places[file.place].table
        return schema if table is None or not table.ids else shaped_by_ids(schema, table, file.shown)

    def _described(self, by_suffix: bool) -> Iterator[InputFile]:
        """The files of all URLs; `by_suffix`: only those whose suffix stands for the format."""
        seen: set[tuple[fsspec.AbstractFileSystem, str]] = set()
        for number, place in enumerate(self._places):
            for path in place.found.paths:
                if (place.fs, path) in seen or (by_suffix and format_of(path) != self.format):
                    continue
                seen.add((place.fs, path))
                if isinstance(place.fs, LocalFileSystem):  # a link in a listed folder may lead elsewhere
                    require_allowed(path, "input.url")
                with translated([place.url]):
                    yield describe(place, number, path)

    def _may_be_empty(self, file: InputFile) -> bool:
        """Whether the job doesn't depend on this file having rows: it isn't the only file that the job names."""
        return self._places[file.place].found.is_listed or (len(self.urls) > 1 and self._has_size(file))

    def _has_size(self, file: InputFile) -> bool:
        """Whether the storage tells the file's size, which a web server need not do."""
        with translated([self.urls[file.place]]):
            return cast(dict[str, Any], self._fs_of(file).info(file.path)).get("size") is not None

    def _fs_of(self, file: InputFile) -> fsspec.AbstractFileSystem:
        return self._places[file.place].fs

    @contextmanager
    def open(self, file: InputFile) -> Generator[IO[bytes]]:
        """A file's bytes, decompressed when its suffix is that of a compression."""
        with self.open_raw(file) as opened, open_stream(opened, file.path, file.shown) as stream:
            yield stream

    def open_raw(self, file: InputFile) -> IO[bytes]:
        """A file's bytes as they are stored, in a file that can seek."""
        fs = self._fs_of(file)
        data = self._small[fs].read(file.path)
        if data is not None:
            return io.BytesIO(data)
        options = {"size": file.bytes} if is_s3(fs) else {}  # otherwise s3fs asks for it
        return cast(IO[bytes], fs.open(file.path, "rb", **options))

    def side_by_side(self, work: Callable[[InputFile], _Found]) -> Iterator[tuple[InputFile, _Found]]:
        """Each file with what `work` finds in it, in order; it looks into large files on other machines side by side."""
        if not any(self._waits(file) for file in self.files):
            yield from ((file, work(file)) for file in self.files)
            return
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            running: deque[tuple[InputFile, Future[_Found]]] = deque()
            try:
                for file in self.files:
                    running.append((file, threads.submit(work, file)))
                    if len(running) > 2 * _AT_ONCE:
                        first, future = running.popleft()
                        yield first, future.result()
                for first, future in running:
                    yield first, future.result()
            finally:
                threads.shutdown(wait=False, cancel_futures=True)

    def _waits(self, file: InputFile) -> bool:
        """Whether to look into this file means to wait for another machine."""
        fs = self._fs_of(file)
        return not (isinstance(fs, LocalFileSystem) or self._small[fs].is_small(file.path))


def _one_format(spec: Input, places: Sequence[Place]) -> Format:
    tables = [place.url for place in places if place.table is not None]
    if tables and spec.format not in ("auto", "parquet"):
        raise DatasetError(
            f"{shown_places(tables)} is a table, whose files are Parquet; input.format asks for {spec.format}. Leave it out."
        )
    if spec.format != "auto":
        return spec.format
    formats = {format_of(path) for place in places for path in place.found.paths}
    known: list[Format] = [name for name in FORMATS if name in formats]
    for place in places:
        path = place.found.paths[0]
        if format_of(path) is not None or (known and place.found.is_listed):
            continue
        raise DatasetError(
            f"{public_text(path, place.url)} has a suffix that names no format; known are {', '.join(SUFFIXES)}, "
            f"for CSV and JSONL also with {', '.join(COMPRESSIONS)} (input.format). Set input.format to parquet, csv, "
            "jsonl or excel."
        )
    if len(known) == 1:
        return known[0]
    raise DatasetError(
        f"{shown_places(spec.urls)} holds files of {' and '.join(known)}; a dataset has one format (input.format). Set "
        "input.format, or give a glob that matches one format only."
    )
