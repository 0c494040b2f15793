"""Builds and checks the entries of a cache: answers, each with the digest of its request. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from promptmill.arrow import pc
from promptmill.checkpoints.answer_files import ANSWERS, REQUEST_DIGEST_CHARACTERS, unpaid_answers

_CHECK_BYTES = 8
_TAKEN = ("response", "embedding", "model", "finish_reason", "response_id", "confidence")  # what the model answered
_PAID = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "cost_usd")  # its tokens and cost
ENTRIES = pa.schema(
    [
        pa.field("digest", pa.binary(16), nullable=False),  # of the request; entries are sorted by it
        pa.field("check", pa.binary(_CHECK_BYTES), nullable=False),  # BLAKE2b of digest, origin, endpoint and answer
        pa.field("origin", pa.string(), nullable=False),  # scheme, host and port of the provider that answered
        pa.field("endpoint", pa.string(), nullable=False),
        pa.field("answered_at", pa.float64(), nullable=False),  # seconds since the epoch
        pa.field("paid_by", pa.string(), nullable=False),  # the custom_id that paid
        pa.field("run", pa.string(), nullable=False),  # the run that paid: its job's name and when it began
        *(ANSWERS.field(name) for name in (*_TAKEN, *_PAID)),
    ]
)
_CHECKED = ("digest", "origin", "endpoint", "response", "embedding", "model", "finish_reason", "confidence")


@dataclass(frozen=True, slots=True)
class Source:
    """The address of the provider that answers; a run takes only answers from the address that it would ask."""

    origin: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class Digests:
    """Distinct digests of requests in ascending order, each as its first and its last 64 bits."""

    high: NDArray[np.uint64]
    low: NDArray[np.uint64]

    def find(self, other: "Digests") -> NDArray[np.int64]:
        """For each of the other digests, its index here; -1 if it isn't here."""
        if not len(self.high):
            return np.full(len(other.high), -1, np.int64)
        places = np.minimum(np.searchsorted(self.high, other.high), len(self.high) - 1)
        is_found = (self.high[places] == other.high) & (self.low[places] == other.low)
        return np.where(is_found, places, -1)


def digests_of(column: Any) -> Digests:
    """A column of digests as numbers, in the column's order."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not len(array):
        return Digests(np.empty(0, np.uint64), np.empty(0, np.uint64))
    data = np.frombuffer(array.buffers()[1], ">u8", 2 * len(array), 16 * array.offset).reshape(-1, 2)
    return Digests(data[:, 0].astype(np.uint64), data[:, 1].astype(np.uint64))


def entries_of(answers: pa.Table, source: Source, run: str) -> pa.Table:
    """The entries for the answers that were paid for and that any run would accept; unsorted.

    It leaves out failures, empty texts (only some jobs accept them), and copies from another row or a cache.
    """
    is_own = pc.and_(answers["answered_by"].is_null(), answers["cached_from"].is_null())
    is_usable = pc.or_(
        pc.greater(pc.fill_null(pc.binary_length(answers["response"]), 0), 0), answers["embedding"].is_valid()
    )
    found = answers.filter(pc.and_(pc.and_(answers["kind"].is_null(), is_own), is_usable))
    digests = [
        bytes.fromhex(name[:REQUEST_DIGEST_CHARACTERS]) for name in cast(list[str], found["custom_id"].to_pylist())
    ]
    count = len(digests)
    known: dict[str, Any] = {
        "digest": pa.array(digests, pa.binary(16)),
        "origin": pa.repeat(pa.scalar(source.origin), count),
        "endpoint": pa.repeat(pa.scalar(source.endpoint), count),
        "paid_by": found["custom_id"],
        "run": pa.repeat(pa.scalar(run), count),
        "answered_at": found["answered_at"],
        **{name: found[name] for name in (*_TAKEN, *_PAID)},
    }
    table = pa.table({name: known[name] for name in ENTRIES.names if name != "check"})
    return table.add_column(1, ENTRIES.field("check"), checks_of(table)).cast(ENTRIES)


def checks_of(table: pa.Table) -> pa.Array:
    """The right `check` value for each entry of a table."""
    columns = [table[name].to_pylist() for name in _CHECKED if name != "embedding"]
    vectors = _vectors(table["embedding"])
    checks = [
        blake2b(repr((values, vector)).encode(errors="surrogatepass"), digest_size=_CHECK_BYTES).digest()
        for values, vector in zip(zip(*columns, strict=True), vectors, strict=True)
    ]
    return pa.array(checks, pa.binary(_CHECK_BYTES))


def _vectors(column: pa.ChunkedArray) -> Sequence[bytes | None]:
    if column.null_count == len(column):
        return [None] * len(column)
    return [None if vector is None else np.asarray(vector, np.float32).tobytes() for vector in column.to_pylist()]


def sorted_once(entries: pa.Table) -> pa.Table:
    """The entries sorted by digest; if there are several for one request and origin, only the newest."""
    order = pc.sort_indices(
        entries, sort_keys=[("digest", "ascending"), ("origin", "ascending"), ("answered_at", "descending")]
    )
    table = entries.take(order).combine_chunks()
    if table.num_rows < 2:
        return table
    digests, origins = digests_of(table["digest"]), table["origin"].combine_chunks().dictionary_encode().indices
    numbers = np.asarray(origins)
    same = (
        (digests.high[1:] == digests.high[:-1]) & (digests.low[1:] == digests.low[:-1]) & (numbers[1:] == numbers[:-1])
    )
    return table.filter(pa.array(np.concatenate([[True], ~same])))


def answers_from(entries: pa.Table, custom_ids: Sequence[str]) -> pa.Table:
    """Entries as answers of these rows, with no cost and no attempts."""
    count = entries.num_rows
    known: dict[str, Any] = {
        "custom_id": pa.array(custom_ids, pa.string()),
        "http_status": pa.repeat(pa.scalar(200, pa.int32()), count),
        "answered_at": entries["answered_at"],
        "cached_from": entries["paid_by"],
        "usage_estimated": pa.repeat(pa.scalar(False), count),
        "reasoning_tokens": pa.repeat(pa.scalar(0, pa.int64()), count),
        **{name: entries[name] for name in _TAKEN},
    }
    return unpaid_answers(known, count)
