"""Rows as CSV (RFC 4180, UTF-8) or as JSON lines, written as they come."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

import orjson

from promptmill.output.export.cells import csv_value, json_value


def write_csv(stream: IO[bytes], columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> int:
    """Write a header and a record a row; returns how many rows. Null and the empty text are the same in CSV."""
    text = io.TextIOWrapper(stream, "utf-8", errors="replace", newline="", write_through=True)
    writer, count = csv.writer(text), 0
    writer.writerow(columns)
    for row in rows:
        writer.writerow([csv_value(row[name]) for name in columns])
        count += 1
    text.detach()
    return count


def write_jsonl(stream: IO[bytes], columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> int:
    """Write an object a line; returns how many."""
    count = 0
    for row in rows:
        stream.write(orjson.dumps({name: json_value(row[name]) for name in columns}, option=orjson.OPT_APPEND_NEWLINE))
        count += 1
    return count
