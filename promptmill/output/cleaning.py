"""What lies among an output's checkpoints for rows that the output no longer has: answers to earlier prompts, most often."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from promptmill.checkpoints.index import hash_custom_id
from promptmill.checkpoints.store import Store
from promptmill.errors import OutputError
from promptmill.output.columns import names_in_manifest
from promptmill.output.manifest import MANIFEST, Manifest, read_manifest
from promptmill.storage import STORAGE_ERRORS, Storage


@dataclass(frozen=True, slots=True)
class Stale:
    """Answer files of which no answer is in the output."""

    names: tuple[str, ...]  # with the records that point to them
    answers: int
    bytes: int


def find_stale(output: Storage, store: Store) -> Stale:
    """The answer files that the finished output doesn't need. Blocks.

    Raises: OutputError when no run has finished there or its parts can't be read; StorageFailed.
    """
    manifest = read_manifest(output)
    if manifest is None:
        raise OutputError(
            f"{output.shown} has no {MANIFEST}: no run has finished there, so every answer may still be needed. Run the job to "
            "its end first."
        )
    current = np.unique(np.concatenate([np.empty(0, np.uint64), *_ids_of_parts(output, manifest)]))
    listing = store.listing()
    files = store.load_all(sorted(name for name in listing.sizes if name.endswith(".parquet")), ["custom_id"])
    names, answers, size = list[str](), 0, 0
    for name, table in files:
        if np.isin(_hashes(table["custom_id"]), current).any():
            continue
        record = name.removesuffix(".parquet") + ".json"
        stale = [name, *([record] if record in listing.sizes else [])]
        names += stale
        answers += table.num_rows
        size += sum(listing.sizes[one] for one in stale)
    return Stale(tuple(names), answers, size)


def _ids_of_parts(output: Storage, manifest: Manifest) -> Iterator[NDArray[np.uint64]]:
    names = names_in_manifest(manifest.job)
    for part in (*manifest.parts, *manifest.failure_parts):
        try:
            with output.fs.open(output.path(part.path), "rb") as opened:
                yield _hashes(pq.read_table(opened, columns=[f"{names.meta_prefix}custom_id"]).column(0))
        except (*STORAGE_ERRORS, pa.ArrowException) as error:
            raise OutputError(
                f"{output.shown}/{part.path} can't be read: {output.describe(error)}. Its rows say which answers are needed "
                "(output.url). Run the job again first."
            ) from error


def _hashes(ids: pa.ChunkedArray) -> NDArray[np.uint64]:
    return np.fromiter((hash_custom_id(custom_id) for custom_id in ids.to_pylist()), np.uint64, len(ids))
