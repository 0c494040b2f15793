"""Turns results in memory into the Parquet files of the checkpoints, and back.

An answer file holds the model's answers and their cost, but no column of the input: these columns may change while the
request stays the same, so publishing joins them from the input.
A file carries a BLAKE2b digest of its own bytes in its Parquet metadata, so that we find any damage before we parse
anything. We compute the digest while its own place holds zeros. Files of earlier versions have only page checksums, and we
still read them.
"""

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from promptmill.arrow import pc
from promptmill.errors import CheckpointUnreadable
from promptmill.job.identity import SCHEMA_VERSION
from promptmill.records import Completion, Failure, Result, Usage

_MONEY = pa.decimal128(18, 12)  # USD; a hundred-millionth of a cent is kept
ZERO_USD = Decimal(0)
_VERSION_KEY = b"promptmill.answers"
_DIGEST_KEY = b"promptmill.digest"
_CHUNK_KEY = b"promptmill.chunk"
_DIGEST_BYTES = 16  # written as 32 hex
REQUEST_DIGEST_CHARACTERS = 32  # hex digits at the start of a custom_id
_UNSIGNED = b"0" * (2 * _DIGEST_BYTES)  # stands in the digest's place while we compute it
_UNCOMPRESSED_BYTES = 1 << 16  # at most, for a chunk under way: the chunk's own file soon replaces it
_FOOTER_BYTES = 64 * 1024  # the digest lies within the last bytes
_SIGNED = re.compile(re.escape(_DIGEST_KEY) + rb"\x18\x20([0-9a-f]{32})")  # a pair in Thrift's compact protocol

ANSWERS = pa.schema(
    [
        pa.field("custom_id", pa.string(), nullable=False),  # unique in a file
        pa.field("kind", pa.string()),  # null = succeeded, else the failure's kind
        pa.field("message", pa.string()),
        pa.field("http_status", pa.int32()),
        pa.field("response", pa.string()),
        pa.field("embedding", pa.list_(pa.float32())),
        pa.field("model", pa.string()),
        pa.field("finish_reason", pa.string()),
        pa.field("input_tokens", pa.int64(), nullable=False),
        pa.field("cached_input_tokens", pa.int64(), nullable=False),
        pa.field("output_tokens", pa.int64(), nullable=False),
        pa.field("cost_usd", _MONEY, nullable=False),
        pa.field("latency_seconds", pa.float64()),
        pa.field("attempts", pa.int32(), nullable=False),
        pa.field("response_id", pa.string()),
        pa.field("answered_at", pa.float64(), nullable=False),  # seconds since the epoch
        pa.field("reasoning_tokens", pa.int64()),  # null in files of earlier versions
        pa.field("usage_estimated", pa.bool_()),  # the same
        pa.field("confidence", pa.string()),  # JSON: property → mean probability of its tokens; "": of all tokens
        pa.field("answered_by", pa.string()),  # 32 hex: this row takes the answer of the row that sent this request
        pa.field("cached_from", pa.string()),  # the custom_id that paid, if the answer came from a cache
    ],
    metadata={_VERSION_KEY: str(SCHEMA_VERSION).encode()},
)
_ADDED = (
    "reasoning_tokens",
    "usage_estimated",
    "confidence",
    "answered_by",
    "cached_from",
)  # since the first version; we read absent columns as null
USAGE_COLUMNS = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "usage_estimated")


def usage_of_columns(
    input_tokens: int, cached: int, output_tokens: int, reasoning: int | None, is_estimated: bool | None
) -> Usage:
    """A row's usage from the values of `USAGE_COLUMNS`."""
    return Usage(input_tokens, cached, output_tokens, 0 if reasoning is None else reasoning, bool(is_estimated))


def answers_table(results: Sequence[Result]) -> pa.Table:
    """Results as a table of `ANSWERS`, in the same order."""
    columns: dict[str, list[Any]] = {
        "custom_id": [r.custom_id for r in results],
        "kind": [r.kind if isinstance(r, Failure) else None for r in results],
        "message": [r.message if isinstance(r, Failure) else None for r in results],
        "http_status": [r.http_status if isinstance(r, Failure) else 200 for r in results],
        "response": [r.response for r in results],
        "embedding": [r.embedding if isinstance(r, Completion) else None for r in results],
        "model": [r.model for r in results],
        "finish_reason": [r.finish_reason if isinstance(r, Completion) else None for r in results],
        "input_tokens": [r.usage.input_tokens for r in results],
        "cached_input_tokens": [r.usage.cached_input_tokens for r in results],
        "output_tokens": [r.usage.output_tokens for r in results],
        "cost_usd": [r.cost_usd for r in results],
        "latency_seconds": [r.latency_seconds for r in results],
        "attempts": [r.attempts for r in results],
        "response_id": [r.response_id if isinstance(r, Completion) else None for r in results],
        "answered_at": [r.answered_at for r in results],
        "reasoning_tokens": [r.usage.reasoning_tokens for r in results],
        "usage_estimated": [r.usage.is_estimated for r in results],
        "confidence": [r.confidence if isinstance(r, Completion) else None for r in results],
        "answered_by": pa.nulls(len(results), pa.string()),
        "cached_from": pa.nulls(len(results), pa.string()),
    }
    return pa.table(columns, schema=ANSWERS)


def references(custom_ids: Sequence[str], now: float) -> pa.Table:
    """A table for rows that take another row's answer to the same request: it has no answers, and no costs.

    `now` is in seconds since the epoch.
    """
    count = len(custom_ids)
    return unpaid_answers(
        {
            "custom_id": pa.array(custom_ids, pa.string()),
            "answered_by": pa.array([custom_id[:REQUEST_DIGEST_CHARACTERS] for custom_id in custom_ids], pa.string()),
            "answered_at": pa.repeat(pa.scalar(now, pa.float64()), count),
        },
        count,
    )


def unpaid_answers(known: Mapping[str, Any], count: int) -> pa.Table:
    """`rows` rows of `ANSWERS` with these columns and no costs; the other columns are null or 0."""
    zeros = {pa.int64(): 0, pa.int32(): 0, _MONEY: ZERO_USD}
    columns = [
        known[field.name]
        if field.name in known
        else pa.nulls(count, field.type)
        if field.nullable
        else pa.repeat(pa.scalar(zeros[field.type], field.type), count)
        for field in ANSWERS
    ]
    return pa.table(columns, schema=ANSWERS)


def without_references(answers: pa.Table) -> pa.Table:
    """The answers that these rows got themselves, without copies from other rows."""
    column = answers["answered_by"]
    return answers if column.null_count == answers.num_rows else answers.filter(pc.is_null(column))


def merge_answers(tables: Iterable[pa.Table]) -> pa.Table:
    """One table with each custom_id once: a success before a failure, then the newest."""
    merged = pa.concat_tables([ANSWERS.empty_table(), *tables])
    ids = merged["custom_id"].to_pylist()
    if len(set(ids)) == len(ids):
        return merged
    failed = [kind is not None for kind in merged["kind"].to_pylist()]
    times: list[float] = merged["answered_at"].to_pylist()
    best: dict[str, int] = {}
    for position in sorted(range(len(ids)), key=lambda at: (failed[at], -times[at])):
        best.setdefault(ids[position], position)
    return merged.take(pa.array(sorted(best.values())))


def encode_answers(table: pa.Table, chunk: str | None = None) -> bytes:
    """The bytes of an answer file; `chunk` is the key of the finished chunk whose answers they are.

    A few answers of a chunk under way aren't compressed, because that would take longer than the rest of the encoding.
    """
    sink = io.BytesIO()
    compression = "none" if chunk is None and table.nbytes <= _UNCOMPRESSED_BYTES else "zstd"
    with pq.ParquetWriter(
        sink, ANSWERS, compression=compression, write_page_checksum=True, use_dictionary=False, write_statistics=False
    ) as writer:
        writer.write_table(table)
        if chunk is not None:
            writer.add_key_value_metadata({_CHUNK_KEY.decode(): chunk})
        writer.add_key_value_metadata({_DIGEST_KEY.decode(): _UNSIGNED.decode()})
    data = sink.getvalue()
    place = _digest_place(data)
    assert place is not None  # noqa: S101 - it was written a line above
    return _with_digest(data, place, _digest(data))


def decode_answers(data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """The table in an answer file.

    Raises: CheckpointUnreadable when the file is damaged, foreign or of another schema version.
    """
    return decode_chunk(data, columns)[0]


def decode_chunk(data: bytes, columns: Sequence[str] | None = None) -> tuple[pa.Table, str | None]:
    """The table in an answer file, and the key of the finished chunk whose answers it holds; None in an earlier version's.

    Raises: CheckpointUnreadable when the file is damaged, foreign or of another schema version.
    """
    place = _digest_place(data)
    if place is not None and data[place : place + len(_UNSIGNED)] != _digest(_with_digest(data, place, _UNSIGNED)):
        raise CheckpointUnreadable("an answer file isn't as it was written")
    wanted = ANSWERS if columns is None else pa.schema([ANSWERS.field(name) for name in columns])
    try:
        # Arrow's own reader takes Python's lock for no read, and those who read many files have threads enough
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        if (file.schema_arrow.metadata or {}).get(_VERSION_KEY) != str(SCHEMA_VERSION).encode():
            raise CheckpointUnreadable("an answer file is of another version")
        table = file.read(columns=list(columns) if columns is not None else None, use_threads=False)
        table = _with_added(table, wanted)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CheckpointUnreadable(f"an answer file can't be read: {error}") from error
    if not table.schema.equals(wanted):
        raise CheckpointUnreadable("an answer file has other columns")
    chunk = (file.metadata.metadata or {}).get(_CHUNK_KEY)
    return table.replace_schema_metadata(ANSWERS.metadata), None if chunk is None else chunk.decode()


def _with_added(table: pa.Table, wanted: pa.Schema) -> pa.Table:
    """The table of an earlier version with the columns that were added since, all null."""
    for name in _ADDED:
        if name in wanted.names and name not in table.column_names:
            unknown = pa.nulls(table.num_rows, wanted.field(name).type)
            table = table.add_column(wanted.get_field_index(name), wanted.field(name), unknown)
    return table


def _digest_place(data: bytes) -> int | None:
    """The offset of the digest in an answer file; None for a file of an earlier version."""
    start = max(0, len(data) - _FOOTER_BYTES)
    found = [match.start(1) for match in _SIGNED.finditer(data[start:])]
    return start + found[-1] if found else None


def _with_digest(data: bytes, place: int, digest: bytes) -> bytes:
    return data[:place] + digest + data[place + len(digest) :]


def _digest(data: bytes) -> bytes:
    """The digest (32 hex) of an answer file that has zeros in the digest's place."""
    return blake2b(data, digest_size=_DIGEST_BYTES).hexdigest().encode()
