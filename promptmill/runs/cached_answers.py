"""What a run takes from a cache before it asks, and what it adds when it publishes.

A run copies the answers that it takes into its own checkpoints, as answers of its own rows that cost nothing. From then on
they are like any that an earlier run left: the cache may go away, and nothing is taken twice.
"""

import logging
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import cast

import pyarrow as pa

from promptmill.cache.look_up import answers_of
from promptmill.cache.segments import CacheWriter
from promptmill.cache.upkeep import compact_if_scattered
from promptmill.checkpoints.store import CACHE_ROWS, Store
from promptmill.planning.cached import Cached
from promptmill.planning.kept import find_kept
from promptmill.planning.preflight import Preflight
from promptmill.storage import STORAGE_ERRORS

log = logging.getLogger("promptmill")
_SLICE_ROWS = 5_000
_SLICE_BYTES = 16 << 20


def take_cached(store: Store, preflight: Preflight) -> int:
    """Keep the answers that the cache has for rows without one; returns how many. Blocks. Raises: StorageFailed."""
    cached = preflight.cached
    if cached is None or not cached.rows:
        return 0
    kept = find_kept(store, preflight.plan)
    if all(kept.listing.is_finished(key) for key in preflight.plan.keys):
        return 0
    taken = 0
    for table in _slices(answers_of(cached.storage, cached.hits, cached.digests, cached.distinct.custom_ids)):
        ids = cast(list[str], table["custom_id"].to_pylist())
        new = table.filter(pa.array([not is_there for is_there in kept.index.holds(ids)]))
        if new.num_rows:
            store.save_slice(f"{taken:09d}", new, CACHE_ROWS)
            taken += new.num_rows
    if taken:
        log.info("%d answers come from the cache %s", taken, cached.storage.shown)
    return taken


def _slices(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same answers in tables of about the size of a file."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(part.num_rows for part in held) >= _SLICE_ROWS or sum(part.nbytes for part in held) >= _SLICE_BYTES:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)


class Contribution:
    """Adds what an output's rows paid for to its cache; a cache that fails is told once and costs the run nothing."""

    def __init__(self, cached: Cached | None, run: str) -> None:
        self._cached = cached
        self._writer = None if cached is None else CacheWriter(cached.storage, cached.source, run, cached.known)

    def add(self, answers: pa.Table) -> None:
        """Take the answers of some rows, those that the cache hasn't."""
        if self._writer is not None:
            with self._excusing():
                self._writer.add(answers)

    def close(self) -> None:
        """Write what is left."""
        if self._cached is None or self._writer is None:
            return
        with self._excusing():
            self._writer.flush()
            if self._writer.written:
                compact_if_scattered(self._cached.storage)

    @contextmanager
    def _excusing(self) -> Generator[None]:
        try:
            yield
        except STORAGE_ERRORS as error:
            assert self._cached is not None  # noqa: S101 - else nothing is written
            log.warning(
                "the cache %s can't be written: %s. The output is complete; `promptmill cache import` adds its answers later.",
                self._cached.storage.shown,
                self._cached.storage.describe(error),
            )
            self._writer = None


NO_CONTRIBUTION = Contribution(None, "")
