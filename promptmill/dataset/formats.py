"""Which format a file has, by the suffix of its name."""

import re
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import unquote

from promptmill.dataset.finding import path_of
from promptmill.dataset.streams import COMPRESSIONS

Format = Literal["parquet", "csv", "jsonl", "excel"]
FORMATS: tuple[Format, ...] = ("parquet", "csv", "jsonl", "excel")
SUFFIXES: dict[str, Format] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".xlsx": "excel",
    ".xlsm": "excel",
    ".ods": "excel",
}
_SHEET = re.compile(r"(.+\.(?:xls[xm]|ods))#(.+)", re.IGNORECASE | re.DOTALL)
WEAK = (".tsv", ".tab", ".txt")  # beside files of other suffixes they are notes rather than data


def without_sheet(url: str) -> tuple[str, str | None]:
    """A workbook's URL, and the sheet that it names behind a #, if it does."""
    found = _SHEET.fullmatch(url)
    return (url, None) if found is None else (found[1], unquote(found[2]))


def suffix_of(path: str) -> str:
    """A path's suffix, without that of a compression."""
    name = PurePosixPath(path_of(path))
    if name.suffix.lower() in COMPRESSIONS:
        name = name.with_suffix("")
    return name.suffix.lower()


def format_of(path: str) -> Format | None:
    """The format that a path's suffix stands for, whether or not the file is compressed."""
    return SUFFIXES.get(suffix_of(path))
