"""What is said of a CSV file that can't be read: what is wrong, and which delimiter, quote or encoding is suspected."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import IO

import pyarrow.csv as pacsv

from promptmill.dataset.csv_dialect import DELIMITERS, Dialect
from promptmill.dataset.files import InputFile
from promptmill.dataset.streams import lines_of
from promptmill.errors import DatasetError
from promptmill.shorten import shorten

_SHOWN = 500  # characters of a list of names
_WINDOWS = re.compile(rb"[\x80-\x9f]")  # letters and signs of Windows-1252, which Latin-1 has as control characters


class RowTooLong(Exception):
    """A row doesn't fit into what Arrow reads at once."""


def too_long(file: InputFile, most_bytes: int, dialect: Dialect) -> DatasetError:
    """The error of a file with a row that is too long."""
    return DatasetError(
        f"{file.shown} has a header or a row of more than {most_bytes:,} bytes, which is the limit for CSV (input.url). Close "
        f"each quote ({dialect.quote or 'none'}; input.csv.quote says which), and keep larger values elsewhere and their "
        "address in the row."
    )


def refuse_repeated(file: InputFile, names: Sequence[str]) -> None:
    """Raises: DatasetError when two columns have one name."""
    repeated = sorted(name for name, times in Counter(names).items() if times > 1)
    if repeated:
        raise DatasetError(
            f"{file.shown} names the columns {shorten(str(repeated), _SHOWN)} twice; a name stands for one column. Rename "
            "them, or set input.csv.header to false if the file has no header."
        )


def explain(
    file: InputFile,
    dialect: Dialect,
    error: Exception,
    wrong: Sequence[pacsv.InvalidRow],
    open_bytes: Callable[[], AbstractContextManager[IO[bytes]]],
) -> DatasetError:
    """What Arrow's error means; `wrong` are the first of too many rows that can't be read."""
    if wrong:
        return DatasetError(
            f"{wrong_fields(file, dialect, wrong[0])}. So are the rows after it, more than can be held until one can be "
            "read. Set the keys of input.csv, or fix the file."
        )
    if "UTF8" in str(error):
        with open_bytes() as opened:
            for number, line in enumerate(lines_of(opened, file.shown), 1):
                try:
                    line.decode()
                except UnicodeDecodeError as found:
                    return _not_utf8(file, number, line[max(0, found.start - 20) : found.start + 20])
    return DatasetError(
        f"{file.shown} isn't CSV that can be read with {dialect}: {error} (input.csv). Fix the file, or set the "
        "keys of input.csv."
    )


def wrong_fields(file: InputFile, dialect: Dialect, row: pacsv.InvalidRow) -> str:
    """What is wrong with a row that has too many or too few fields."""
    return (
        f"{file.shown} has {row.actual_columns} fields in row {row.number or '?'} ({shorten(row.text, 80)!r}); its "
        f"header has {row.expected_columns}, read with {dialect} (input.csv){_suspect(row.text, dialect)}"
    )


def _suspect(text: str, dialect: Dialect) -> str:
    others = [name for sign, name in DELIMITERS.items() if sign != dialect.delimiter and sign in text]
    found = [f"a {name} as the delimiter (input.csv.delimiter)" for name in others]
    found += ["a backslash as the escape (input.csv.escape)"] if "\\" in text and not dialect.escape else []
    return f"; it may have {' or '.join(found)}" if found else ""


def _not_utf8(file: InputFile, number: int, part: bytes) -> DatasetError:
    guess = "windows-1252" if _WINDOWS.search(part) else "latin-1"
    read = shorten(part.decode(guess, errors="replace").strip(), 60)
    return DatasetError(
        f"{file.shown} isn't UTF-8 in line {number}; text is read as UTF-8 unless input.csv.encoding says otherwise. As "
        f"{guess} it would be {read!r}. If that is right, set input.csv.encoding to {guess} (or latin-1, windows-1252 or "
        "another), else convert the file."
    )
