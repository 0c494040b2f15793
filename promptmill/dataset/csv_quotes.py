"""Quotes that Arrow's reader passes over without a word: one that is never closed, and text behind a closing one.

The first takes all rows behind it into one field; the second gives a text that the file doesn't show (`"say "hi" now"` as
`say hi" now"`). Whether a quote opens a field only a parser can tell. So a row of our own stands behind the last one,
which Arrow sees as a row only if no quote is open there. And where a quote stands between other characters, as it also
does in `5" disk`, Python's csv module reads the file and refuses text behind a closing one.
"""

import csv
import io
from typing import IO, Any, Literal, cast

import pyarrow.csv as pacsv

from promptmill.dataset.csv_dialect import Dialect, short_lines
from promptmill.dataset.csv_streams import followed_by, utf8_stream
from promptmill.dataset.files import InputFile
from promptmill.dataset.unreadable import Gaps
from promptmill.errors import DatasetError

_MARK = "\0promptmill: the last row\0"
_REFUSED = "expected after"  # what the csv module's error says of text behind a closing quote


class LastRow:
    """A row with too many fields behind a file's rows, for Arrow to refuse it, and what Arrow made of it."""

    def __init__(self, dialect: Dialect, columns: int, gaps: Gaps) -> None:
        self._row = _MARK + dialect.delimiter * columns
        self._gaps = gaps
        self._quote = dialect.quote
        self._is_seen = False

    def behind(self, stream: IO[bytes]) -> IO[bytes]:
        """The stream with the row behind it."""
        return followed_by(stream, self._row.encode()) if self._quote else stream

    def note(self, row: pacsv.InvalidRow) -> Literal["error", "skip"]:
        """Take down a row that Arrow can't read, unless it is this one."""
        if self._quote and row.text == self._row:
            self._is_seen = True
            return "skip"
        return self._gaps.note(row)

    def require(self, file: InputFile, dialect: Dialect) -> None:
        """Raises: DatasetError when a quote is open at the end of the file."""
        if self._quote and not self._is_seen:
            raise DatasetError(
                f"{file.shown} has a quote that is never closed, so that the rows behind it would become one field, read "
                f'with {dialect} (input.csv). Close it, or set input.csv.quote to "" if quotes are a part of the text.'
            )


def refuse_text_behind_quotes(file: InputFile, opened: IO[bytes], dialect: Dialect) -> None:
    """Raises: DatasetError when text stands between a closing quote and the next delimiter."""
    stream = cast(Any, utf8_stream(opened, dialect, file.shown))
    text = io.TextIOWrapper(stream, "utf-8-sig", "replace", newline="")  # no quote behind a mark would open a field
    reader = csv.reader(short_lines(text), delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True)
    try:
        for _ in reader:
            pass
    except csv.Error as error:
        if _REFUSED not in str(error):
            return
        raise DatasetError(
            f"{file.shown} has text behind a closing quote in line {reader.line_num:,}, read with {dialect}; a quote "
            'inside a text is doubled (input.csv). Double it, or set input.csv.quote to "" if quotes are a part of the text, '
            f"or to {dialect.quote!r} if what stands behind them is."
        ) from error
