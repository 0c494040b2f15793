"""Looks up requests in a cache: first which of them it answers, by their digests alone, then the answers.

Each of the two passes over every segment once. The first reads the digests of a row group only if the group's bounds allow
for a wanted digest. The second reads only row groups with wanted answers.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from promptmill.arrow import pc
from promptmill.cache.entries import ENTRIES, Digests, Source, answers_from, checks_of, digests_of
from promptmill.cache.segments import NotASegment, open_segment, segments
from promptmill.storage import STORAGE_ERRORS, Storage

log = logging.getLogger("promptmill")
_AT_ONCE = 8  # segments
UNREADABLE = (*STORAGE_ERRORS, pa.ArrowException, NotASegment, ValueError)


@dataclass(frozen=True, slots=True)
class Hits:
    """The requests that a cache answers."""

    wanted: NDArray[np.int64]  # indexes of the answered digests, ascending
    segment: NDArray[np.int32]  # number of the segment that has the newest answer
    group: NDArray[np.int32]  # its row group
    row: NDArray[np.int64]  # the entry within the row group
    names: tuple[str, ...]  # of the segments
    sizes: tuple[int, ...]

    @staticmethod
    def none() -> "Hits":
        """Hits for no request."""
        return Hits(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int64), (), ())


_Places = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]  # of Hits, and times


def look_up(storage: Storage, digests: Digests, source: Source, oldest: float) -> Hits:
    """Finds the requests that a cache answers, from the same provider and not before `oldest` (seconds since the epoch).

    It skips a segment that can't be read, and names it in a warning. Blocks.
    """
    try:
        found = segments(storage)
    except STORAGE_ERRORS as error:
        _warn(storage, "can't be listed", error)
        return Hits.none()
    if not found or not len(digests.high):
        return Hits.none()
    names = tuple(found)

    def search(number: int) -> _Places | None:
        try:
            with open_segment(storage, names[number], found[names[number]]) as file:
                return _search(file, digests, source, oldest)
        except UNREADABLE as error:
            _warn(storage, f"has a segment {names[number]} that can't be read", error)
            return None

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        places = list(threads.map(search, range(len(names))))
    return _newest(places, names, tuple(found.values()))


def answers_of(
    storage: Storage, hits: Hits, digests: Digests, ids: Callable[[NDArray[np.int64]], list[str]]
) -> Iterator[pa.Table]:
    """The answers of the hits, in tables of ANSWERS; `ids` gives the custom_ids of the looked-up digests.

    It leaves out a damaged entry and warns. Blocks.
    """
    for number in np.unique(hits.segment):
        name = hits.names[number]
        for wanted, entries in _entries(storage, hits, int(number)):
            yield from _sound(storage, name, entries, wanted, digests, ids)


def _entries(storage: Storage, hits: Hits, number: int) -> Iterator[tuple[NDArray[np.int64], pa.Table]]:
    """The wanted entries of a segment and the digests that they answer, one row group after the other."""
    name, chosen = hits.names[number], np.flatnonzero(hits.segment == number)
    try:
        with open_segment(storage, name, hits.sizes[number]) as file:
            for group in np.unique(hits.group[chosen]):
                places = chosen[hits.group[chosen] == group]
                yield hits.wanted[places], file.read_row_group(int(group)).take(pa.array(hits.row[places]))
    except UNREADABLE as error:
        _warn(storage, f"has a segment {name} that can't be read", error)


def _sound(
    storage: Storage,
    name: str,
    entries: pa.Table,
    wanted: NDArray[np.int64],
    digests: Digests,
    ids: Callable[[NDArray[np.int64]], list[str]],
) -> Iterator[pa.Table]:
    found = digests_of(entries["digest"])
    is_sound = np.asarray(pc.equal(entries["check"].combine_chunks(), checks_of(entries)))
    is_sound &= (found.high == digests.high[wanted]) & (found.low == digests.low[wanted])
    if not is_sound.all():
        log.warning(
            "%d answers in %s/%s are damaged; the run sends their requests instead.",
            int((~is_sound).sum()),
            storage.shown,
            name,
        )
        entries = entries.filter(pa.array(is_sound))
    if entries.num_rows:
        yield answers_from(entries, ids(wanted[is_sound]))


def _search(file: pq.ParquetFile, wanted: Digests, source: Source, oldest: float) -> _Places:
    parts: list[_Places] = []
    for group in range(file.metadata.num_row_groups):
        if not _may_hold(file, group, wanted):
            continue
        entries = file.read_row_group(group, ["digest"])
        found = wanted.find(digests_of(entries["digest"]))
        rows = np.flatnonzero(found >= 0)
        if len(rows):
            about = file.read_row_group(group, ["origin", "endpoint", "answered_at"]).take(pa.array(rows))
            is_ours = pc.and_(pc.equal(about["origin"], source.origin), pc.equal(about["endpoint"], source.endpoint))
            is_ours = np.asarray(pc.and_(is_ours, pc.greater_equal(about["answered_at"], oldest)).combine_chunks())
            times = np.asarray(about["answered_at"])[is_ours]
            parts.append((found[rows][is_ours], np.full(len(times), group, np.int32), rows[is_ours], times))
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.float64)
    wanted_at, groups, rows_at, times_at = zip(*parts, strict=True)
    return np.concatenate(wanted_at), np.concatenate(groups), np.concatenate(rows_at), np.concatenate(times_at)


def _may_hold(file: pq.ParquetFile, group: int, wanted: Digests) -> bool:
    """Whether a wanted digest lies between the group's first and last."""
    bounds: Any = file.metadata.row_group(group).column(ENTRIES.names.index("digest")).statistics
    if bounds is None or not bounds.has_min_max:
        return True
    first, last = (int.from_bytes(bytes(value)[:8], "big") for value in (bounds.min, bounds.max))
    low = np.searchsorted(wanted.high, np.uint64(first), "left")
    return bool(low < len(wanted.high) and wanted.high[low] <= np.uint64(last))


def _newest(places: Sequence[_Places | None], names: tuple[str, ...], sizes: tuple[int, ...]) -> Hits:
    known = [(number, found) for number, found in enumerate(places) if found is not None and len(found[0])]
    if not known:
        return Hits.none()
    wanted = np.concatenate([found[0] for _, found in known])
    segment = np.concatenate([np.full(len(found[0]), number, np.int32) for number, found in known])
    group = np.concatenate([found[1] for _, found in known])
    row = np.concatenate([found[2] for _, found in known])
    times = np.concatenate([found[3] for _, found in known])
    order = np.lexsort((-times, wanted))
    chosen = order[np.concatenate([[True], wanted[order][1:] != wanted[order][:-1]])]
    return Hits(wanted[chosen], segment[chosen], group[chosen], row[chosen], names, sizes)


def _warn(storage: Storage, what: str, error: Exception) -> None:
    log.warning(
        "the cache %s %s: %s. The run asks the provider instead.",
        storage.shown,
        what,
        storage.describe(error),
    )
