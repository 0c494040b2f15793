"""Answers of outputs that were made without a cache, added to one."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from promptmill.cache.entries import Digests, Source, digests_of, entries_of, sorted_once
from promptmill.cache.look_up import look_up
from promptmill.cache.segments import CacheWriter
from promptmill.checkpoints.store import Store
from promptmill.errors import CheckpointUnreadable, OutputError
from promptmill.output.manifest import MANIFEST, read_manifest
from promptmill.planning.cached import origin_of
from promptmill.planning.opened_job import CHECKPOINTS
from promptmill.storage import Storage


def import_output(cache: Storage, output: Storage, base_url: str) -> int:
    """Add what an output's checkpoints hold and the cache lacks; returns how many answers. `base_url`: who gave them.

    Blocks. Raises: OutputError when no run has finished there; StorageFailed; any of STORAGE_ERRORS of the cache.
    """
    manifest = read_manifest(output)
    if manifest is None:
        raise OutputError(
            f"{output.shown} has no {MANIFEST}: no run has finished there, so nothing says which endpoint was asked. Run the "
            "job to its end, then import it."
        )
    source = Source(origin_of(base_url), str(manifest.job["request"]["endpoint"]))
    run = f"{manifest.job['name']} {manifest.started_at}"
    store = Store(output.folder(CHECKPOINTS))
    writer = CacheWriter(cache, source, run, _known(cache, source, store))
    for answers in _answers(store):
        writer.add(answers)
    writer.flush()
    return writer.written


def _known(cache: Storage, source: Source, store: Store) -> Digests:
    """The digests of the answers in a store that the cache has already."""
    taken = (entries_of(answers, source, "") for answers in _answers(store))
    found = [entries.select(["digest", "origin", "answered_at"]) for entries in taken]
    if not found:
        return Digests(np.empty(0, np.uint64), np.empty(0, np.uint64))
    wanted = digests_of(sorted_once(pa.concat_tables(found))["digest"])
    hits = look_up(cache, wanted, source, float("-inf")).wanted
    return Digests(wanted.high[hits], wanted.low[hits])


def _answers(store: Store) -> Iterator[pa.Table]:
    """The answers in each sound file of a store."""
    for name in sorted(store.listing().sizes):
        if not name.endswith(".parquet"):
            continue
        try:
            yield store.load(name)
        except CheckpointUnreadable:
            continue
