"""Writes and lists the segments of a cache.

Each segment is an object with its own name, created once and never changed, so writers need no lock. Row groups have at
most some rows and bytes, so a look-up reads little that it doesn't need.
"""

import io
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from promptmill.cache.entries import ENTRIES, Digests, Source, digests_of, entries_of, sorted_once
from promptmill.storage import Storage

_SUFFIX = ".parquet"
_GROUP_ROWS = 50_000
_GROUP_BYTES = 8 << 20
MOST_BYTES = 64 << 20  # of the entries of a segment
_SEGMENT_ROWS = 500_000
_VERSION_KEY, _VERSION = b"promptmill.cache", b"1"


class NotASegment(Exception):
    """A file in the cache's folder isn't a segment of this version."""


def segments(storage: Storage) -> dict[str, int]:
    """Name → bytes of each segment. Raises: any of STORAGE_ERRORS."""
    return {name: size for name, size in sorted(storage.sizes().items()) if name.endswith(_SUFFIX) and "/" not in name}


@contextmanager
def open_segment(storage: Storage, name: str, size: int) -> Generator[pq.ParquetFile]:
    """A segment to read. Raises: NotASegment; pa.ArrowException; any of STORAGE_ERRORS."""
    options = {} if storage.is_local else {"size": size, "cache_type": "none"}  # Arrow asks for whole ranges itself
    with cast(IO[bytes], storage.fs.open(storage.path(name), "rb", **options)) as opened:
        file = pq.ParquetFile(opened, pre_buffer=True, page_checksum_verification=True)
        found = file.schema_arrow
        if (found.metadata or {}).get(_VERSION_KEY) != _VERSION or not found.equals(ENTRIES):
            raise NotASegment(f"{name} is no segment of a cache of this version")
        yield file


def write_segment(storage: Storage, entries: pa.Table) -> str:
    """Keep entries; returns the segment's name. Raises: any of STORAGE_ERRORS."""
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(6)}{_SUFFIX}"
    storage.write(name, encode_segment(entries))
    return name


def encode_segment(entries: pa.Table) -> bytes:
    """The bytes of a segment with these entries, in the order of their digests, each once."""
    table = sorted_once(entries)
    rows = max(1, min(_GROUP_ROWS, _GROUP_BYTES * max(1, table.num_rows) // max(1, table.nbytes)))
    sink = io.BytesIO()
    pq.write_table(
        table.replace_schema_metadata({_VERSION_KEY: _VERSION}),
        sink,
        row_group_size=rows,
        compression="zstd",
        write_page_checksum=True,
        use_dictionary=cast(Any, ["origin", "endpoint", "model", "finish_reason", "run"]),
        write_statistics=cast(Any, ["digest", "origin", "endpoint", "answered_at"]),
    )
    return sink.getvalue()


class CacheWriter:
    """Collects the answers that a run paid for and writes them as segments. For one thread; memory is bounded."""

    def __init__(self, storage: Storage, source: Source, run: str, known: Digests) -> None:
        """`known` are the requests that the cache answers already; the writer leaves out their answers."""
        self._storage, self._source, self._run, self._known = storage, source, run, known
        self._held: list[pa.Table] = []
        self._rows = self._bytes = 0
        self.written = 0

    def add(self, answers: pa.Table) -> None:
        """Take the answers of a table that were paid for. Raises: any of STORAGE_ERRORS."""
        entries = entries_of(answers, self._source, self._run)
        is_known = self._known.find(digests_of(entries["digest"])) >= 0
        if is_known.any():
            entries = entries.filter(pa.array(~is_known))
        if not entries.num_rows:
            return
        self._held.append(entries)
        self._rows += entries.num_rows
        self._bytes += entries.nbytes
        if self._rows >= _SEGMENT_ROWS or self._bytes >= MOST_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the answers in memory. Raises: any of STORAGE_ERRORS."""
        if not self._held:
            return
        write_segment(self._storage, pa.concat_tables(self._held))
        self.written += self._rows
        self._held, self._rows, self._bytes = [], 0, 0
