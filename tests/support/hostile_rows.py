"""Inputs that would hold a process or fill its memory, each with a word of the error it ends in."""

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from promptmill.cell_values import rows_of
from promptmill.dataset.dataset import open_dataset
from promptmill.job.spec import Input

_MEGABYTE = 1 << 20
_BEGINNING_ALIKE = {"use_dictionary": False, "column_encoding": {"text": "DELTA_BYTE_ARRAY"}, "compression": "none"}
_PLAINLY = {"store_schema": False}  # a dictionary is read as the plain values that it stands for


def _bytes(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def _repeat(start: bytes, piece: bytes, times: int) -> Callable[[Path], object]:
    """Writes the start, then the piece so many times, packed as the suffix says."""

    def write(path: Path) -> None:
        with _opened(path) as file:
            file.write(start)
            for _ in range(times):
                file.write(piece)

    return write


def _opened(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path, "wb", compresslevel=1))
    return cast(IO[bytes], zstandard.open(path, "wb")) if path.suffix == ".zst" else path.open("wb")


def _write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.csv", "w") as member:
        member.write(b"text\n")
        for _ in range(150):
            member.write(b"aaaa\n" * (_MEGABYTE // 5))


def _table(make: Callable[[], dict[str, object]], **options: object) -> Callable[[Path], object]:
    return lambda path: pq.write_table(pa.table(make()), path, **cast(Any, options))


def _equal(count: int, megabytes: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), ["a" * megabytes * _MEGABYTE])


def _texts_alike(count: int, megabytes: int) -> pa.ChunkedArray:
    """In two arrays, since one holds 2 GB at most. Arrow takes ten times as long to convert a list of texts."""
    text = pa.array(["a" * megabytes * _MEGABYTE])
    return pa.chunked_array([pa.concat_arrays([text] * some) for some in (count - 8, 8)])


def _one_heavy_list() -> dict[str, object]:
    """500 lists, of which the first holds all texts but 499."""
    texts = _equal(35_000, 1)
    ends = np.append(0, np.arange(35_000 - 499, 35_001)).astype(np.int32)
    return {"text": pa.ListArray.from_arrays(ends, texts)}


def _write_deep_parquet(levels: int) -> Callable[[Path], object]:
    kind: pa.DataType = pa.int64()
    for _ in range(levels):
        kind = pa.struct([("a", kind)])
    return lambda path: pq.write_table(pa.table({"text": pa.nulls(1, kind)}), path)


INPUTS: dict[str, tuple[str, Callable[[Path], object], str]] = {  # file name, how it is written, a word of the error
    "jsonl-lists-900-deep": ("a.jsonl", _bytes(b'{"text":' + b"[" * 900 + b"]" * 900 + b"}\n"), "200 levels"),
    "jsonl-objects-900-deep": ("a.jsonl", _bytes(b'{"a":' * 900 + b"1" + b"}" * 900 + b"\n"), "200 levels"),
    "jsonl-lists-100000-deep": ("a.jsonl", _bytes(b'{"text":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"), "JSON"),
    "jsonl-of-many-values": ("a.jsonl", _bytes(b'{"text":[' + b"[]," * 5_000_000 + b"1]}\n"), "values"),
    "csv-gzip-of-equal-rows": ("a.csv.gz", _repeat(b"text\n", b"aaaa\n" * (_MEGABYTE // 5), 150), "compressed"),
    "csv-zstd-of-equal-rows": ("a.csv.zst", _repeat(b"text\n", b"aaaa\n" * (_MEGABYTE // 5), 400), "compressed"),
    "csv-zstd-of-a-large-window": ("a.csv.zst", _bytes(b"\x28\xb5\x2f\xfd\x00\xa8" + b"\0" * 100), "decompressed"),
    "csv-in-zip": ("a.zip", _write_zip, "compressed"),
    "csv-gzip-of-one-header": ("a.csv.gz", _repeat(b"a", b"a" * _MEGABYTE, 150), "header"),
    "csv-of-one-row": ("a.csv", _repeat(b"text\n", b"a" * _MEGABYTE, 300), "row"),
    "csv-of-one-quote": ("a.csv", _repeat(b'text\n"', b"aaa\n" * (_MEGABYTE // 4), 300), "row"),
    "csv-of-equal-columns": ("a.csv", _repeat(b"b", b",a", 9_000), "twice"),
    "csv-of-many-columns": ("a.csv", _bytes(b",".join(b"c%d" % i for i in range(100_000)) + b"\n"), "columns"),
    "csv-of-one-quote-after-a-backslash": ("a.csv", _repeat(b'text\n"\\""', b"aaa\n" * (_MEGABYTE // 4), 300), "row"),
    "csv-utf-16-of-one-row": ("a.csv", _repeat("text\n".encode("utf-16"), b"a\0" * (_MEGABYTE // 2), 300), "row"),
    "jsonl-of-many-columns": (
        "a.jsonl",
        _bytes(b"{" + b",".join(b'"c%d":1' % i for i in range(100_000)) + b"}"),
        "columns",
    ),
    "jsonl-of-one-line": ("a.jsonl", _repeat(b'{"text":"', b"a" * _MEGABYTE, 300), "line 1"),
    "jsonl-zstd-of-one-line": ("a.jsonl.zst", _repeat(b'{"text":"', b"a" * _MEGABYTE, 300), "compressed"),
    "jsonl-gzip-of-empty-lines": ("a.jsonl.gz", _repeat(b"", b"\n" * _MEGABYTE, 300), "compressed"),
    "jsonl-zstd-of-equal-rows": ("a.jsonl.zst", _repeat(b"", b'{"a":"aaaaaaaaaa"}\n' * 50_000, 300), "compressed"),
    "parquet-of-one-large-text": (
        "a.parquet",
        _table(
            lambda: {"text": ["a" * 100 * _MEGABYTE]}, compression="zstd", use_dictionary=False, write_statistics=False
        ),
        "compressed",
    ),
    "parquet-of-many-columns": ("a.parquet", _table(lambda: {f"c{i}": [1] for i in range(20_000)}), "columns"),
    "parquet-of-a-large-footer": (
        "a.parquet",
        _bytes(bytes(22 << 20) + (21 << 20).to_bytes(4, "little") + b"PAR1"),
        "footer",
    ),
    "parquet-of-one-text-for-all-rows": (
        "a.parquet",
        _table(lambda: {"text": _equal(5_000, 7)}, **_PLAINLY),
        "chunk_rows",
    ),
    "parquet-of-one-text-for-all-values": (
        "a.parquet",
        _table(lambda: {"text": pa.FixedSizeListArray.from_arrays(_equal(35_000, 1), 7)}, **_PLAINLY),
        "chunk_rows",
    ),
    "parquet-of-one-text-for-all-values-of-a-row": ("a.parquet", _table(_one_heavy_list, **_PLAINLY), "row 0 of"),
    "parquet-of-texts-that-begin-alike": (
        "a.parquet",
        _table(lambda: {"text": _texts_alike(300, 7)}, **_BEGINNING_ALIKE),
        "chunk_rows",
    ),
    "parquet-of-blobs-that-begin-alike": (
        "a.parquet",
        _table(lambda: {"text": pa.array([b"a" * _MEGABYTE] * 300, pa.binary(_MEGABYTE))}, **_BEGINNING_ALIKE),
        "chunk_rows",
    ),
    "parquet-of-one-blob-for-all-rows": (
        "a.parquet",
        _table(lambda: {"text": pa.array([b"a" * _MEGABYTE] * 300, pa.binary(_MEGABYTE))}),
        "chunk_rows",
    ),
    "parquet-of-long-lists": ("a.parquet", _table(lambda: {"text": [np.zeros(20_000_000, np.int8)]}), "values"),
    "parquet-of-no-bytes": ("a.parquet", _bytes(b""), "Parquet"),
    "parquet-with-a-false-footer": ("a.parquet", _bytes(b"PAR1" * 1_000 + b"\xff\xff\xff\x7fPAR1"), "Parquet"),
    "parquet-200-deep": ("a.parquet", _write_deep_parquet(200), "nested"),
    "parquet-900-deep": ("a.parquet", _write_deep_parquet(900), "nested"),
}


def write_input(name: str, folder: Path) -> None:
    """Write the file of a case."""
    (folder / name).mkdir()
    INPUTS[name][1](folder / name / INPUTS[name][0])


def read_input(name: str, folder: Path) -> None:
    """Read all rows of a case's file. Raises: DatasetError."""
    path = folder / name / INPUTS[name][0]
    url = f"zip:///a.csv::{path}" if path.suffix == ".zip" else str(path)
    for table in open_dataset(Input.model_validate({"url": url})).read(500):
        rows_of(table)
