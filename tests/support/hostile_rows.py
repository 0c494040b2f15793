"""Inputs that would hold a process or fill its memory, each with a word of the error it ends in."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from promptmill.dataset.dataset import open_dataset, rows_of
from promptmill.job.spec import Input


def _bytes(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


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
    "parquet-200-deep": ("a.parquet", _write_deep_parquet(200), "nested"),
    "parquet-900-deep": ("a.parquet", _write_deep_parquet(900), "nested"),
}


def write_input(name: str, folder: Path) -> None:
    """Write the file of a case."""
    (folder / name).mkdir()
    INPUTS[name][1](folder / name / INPUTS[name][0])


def read_input(name: str, folder: Path) -> None:
    """Read all rows of a case's file. Raises: DatasetError."""
    for table in open_dataset(Input.model_validate({"url": str(folder / name / INPUTS[name][0])})).read(500):
        rows_of(table)
