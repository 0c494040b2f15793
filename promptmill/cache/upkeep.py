"""Keeps a cache in order: merges small segments, drops old answers, and counts the rest.

A merge writes the new segment before it removes the old ones, so that no answer is ever missing. If two processes merge at
once, they write the same answers twice, and the next merge removes the copies.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from promptmill.arrow import pc
from promptmill.cache.entries import ENTRIES
from promptmill.cache.look_up import UNREADABLE
from promptmill.cache.segments import MOST_BYTES, open_segment, segments, write_segment
from promptmill.storage import Storage

log = logging.getLogger("promptmill")
_SMALL_BYTES = MOST_BYTES // 4
_MANY = 64  # a run merges small segments if there are more
_AT_ONCE_BYTES = 2 * MOST_BYTES  # bytes of entries in memory


@dataclass(slots=True)
class Stats:
    """What a cache holds."""

    segments: int = 0
    entries: int = 0
    bytes: int = 0
    first: float | None = None  # time of its oldest answer, in seconds since the epoch
    last: float | None = None
    unreadable: list[str] = field(default_factory=list[str])  # names of files that can't be read as segments


@dataclass(frozen=True, slots=True)
class Pruned:
    """What pruning did."""

    kept: int  # entries
    dropped: int  # too old, or replaced by a newer answer to the same request
    removed: int  # segments


def stats(storage: Storage) -> Stats:
    """Counts what a cache holds, from the footers of its segments. Blocks. Raises: any of STORAGE_ERRORS."""
    found, bounds = Stats(), list[float]()
    for name, size in segments(storage).items():
        try:
            with open_segment(storage, name, size) as file:
                times = [_times(file, group) for group in range(file.metadata.num_row_groups)]
                found.entries += file.metadata.num_rows
        except UNREADABLE:
            found.unreadable.append(name)
            continue
        found.segments += 1
        found.bytes += size
        bounds += [time for pair in times if pair is not None for time in pair]
    if bounds:
        found.first, found.last = min(bounds), max(bounds)
    return found


def compact_if_scattered(storage: Storage) -> None:
    """Merge small segments if there are many. Blocks. Raises: any of STORAGE_ERRORS."""
    small = [name for name, size in segments(storage).items() if size < _SMALL_BYTES]
    if len(small) > _MANY:
        _merge(storage, small, float("-inf"))


def prune(storage: Storage, oldest: float) -> Pruned:
    """Merge small segments and drop answers given before `oldest`, in seconds since the epoch.

    Blocks. Raises: any of STORAGE_ERRORS.
    """
    chosen: list[str] = []
    for name, size in segments(storage).items():
        if size < _SMALL_BYTES or _has_old(storage, name, size, oldest):
            chosen.append(name)
    return _merge(storage, chosen, oldest) if len(chosen) > 1 or oldest > 0 else Pruned(0, 0, 0)


def _has_old(storage: Storage, name: str, size: int, oldest: float) -> bool:
    try:
        with open_segment(storage, name, size) as file:
            bounds = [_times(file, group) for group in range(file.metadata.num_row_groups)]
    except UNREADABLE:
        return False
    return any(pair is None or pair[0] < oldest for pair in bounds)


def _merge(storage: Storage, names: list[str], oldest: float) -> Pruned:
    kept = dropped = removed = 0
    for merged, entries in _together(storage, names):
        recent = entries.filter(pc.greater_equal(entries["answered_at"], oldest))
        written = write_segment(storage, recent) if recent.num_rows else None
        storage.delete(merged)
        left = 0 if written is None else _rows(storage, written)
        kept, dropped, removed = kept + left, dropped + entries.num_rows - left, removed + len(merged)
    return Pruned(kept, dropped, removed)


def _rows(storage: Storage, name: str) -> int:
    with open_segment(storage, name, storage.sizes()[name]) as file:
        return file.metadata.num_rows


def _together(storage: Storage, names: list[str]) -> Iterator[tuple[list[str], pa.Table]]:
    """The segments with their entries, in groups that fit in memory; leaves out a segment that can't be read."""
    sizes = segments(storage)
    held: list[str] = []
    tables: list[pa.Table] = []
    for name in names:
        try:
            with open_segment(storage, name, sizes[name]) as file:
                table = file.read()
        except (*UNREADABLE, KeyError) as error:
            log.warning("the cache %s has a segment %s that can't be merged: %s", storage.shown, name, error)
            continue
        held, tables = [*held, name], [*tables, table]
        if sum(part.nbytes for part in tables) >= _AT_ONCE_BYTES:
            yield held, pa.concat_tables(tables)
            held, tables = [], []
    if held:
        yield held, pa.concat_tables(tables)


def _times(file: pq.ParquetFile, group: int) -> tuple[float, float] | None:
    """Times of a row group's oldest and newest answers; None if the group doesn't say."""
    bounds = file.metadata.row_group(group).column(ENTRIES.names.index("answered_at")).statistics
    return None if bounds is None or not bounds.has_min_max else (float(bounds.min), float(bounds.max))
