"""How a CSV file is written: found out from its beginning, as far as the job doesn't say.

Python's own csv module reads the beginning with each delimiter and quote that people use. A reading fits when every row
has as many fields as the first. If more than one fits, nobody can know which is meant, so the job has to say.
Arrow, which reads the rows, takes a text after a closing quote for a part of the field; the csv module refuses it, and so
tells whether a backslash stands before quotes as Spark and MySQL write it.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TextIO

from promptmill.errors import DatasetError
from promptmill.job.input_spec import Csv
from promptmill.shorten import shorten

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
_SAMPLE_CHARACTERS = 1 << 17
_MAX_FIELD = 1 << 23  # characters of a field that the csv module reads
_SEP = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)  # what Excel writes for itself
_SINGLE = re.compile(r"(?:^|[,;\t|])'", re.MULTILINE)  # a single quote where a field begins
_NUMBER = re.compile(r"[-+]?[0-9][0-9.,:/-]*")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

csv.field_size_limit(max(_MAX_FIELD, csv.field_size_limit()))


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a CSV file is written; an empty text stands for none."""

    delimiter: str
    quote: str
    escape: str
    encoding: str
    header: bool
    comment: str
    skip_lines: int = 0  # before the header

    def __str__(self) -> str:
        between = DELIMITERS.get(self.delimiter, self.delimiter)
        parts = [f"delimiter {between}", f"quote {self.quote or 'none'}", f"encoding {self.encoding}"]
        parts += [f"escape {self.escape}"] if self.escape else []
        parts += [f"comment {self.comment}"] if self.comment else []
        return ", ".join(parts if self.header else [*parts, "no header"])


def _encoding_of(start: bytes) -> str:
    """The encoding that a file's first bytes tell: UTF-8 unless there is another's mark, or each second byte is zero."""
    for mark, name in _BOMS:
        if start.startswith(mark):
            return name
    head = start[:1_000]
    for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        if len(head) >= 4 and head[first::2].count(0) > 0.4 * len(head) / 2 > head[1 - first :: 2].count(0):
            return name
    return "utf-8"


def sniff(start: bytes, asked: Csv, shown: str, is_tabbed: bool) -> Dialect:
    """The dialect of a file that begins so. Raises: DatasetError where two readings are possible."""
    encoding = asked.encoding or _encoding_of(start)
    text = decoded(start, encoding)[:_SAMPLE_CHARACTERS]
    is_cut = len(text) == _SAMPLE_CHARACTERS
    line = _SEP.match(text) if asked.delimiter is None else None
    if line is not None:
        text = text[line.end() :]
    comment = asked.comment if asked.comment is not None else _comment_of(text)
    text = without_comments(text, comment)
    delimiters = [asked.delimiter or line[1]] if asked.delimiter or line else list(DELIMITERS)
    readings = [(asked.quote, asked.escape or "")] if asked.quote is not None else _readings(text, asked.escape)
    delimiter, quote = _choose(text, delimiters, readings, is_cut, shown, is_tabbed)
    header = asked.header
    if header is None:
        header = True
        _refuse_numbers(first_row(text, delimiter, quote), shown)
    return Dialect(delimiter, quote, asked.escape or "", encoding, header, comment, int(line is not None))


def decoded(start: bytes, encoding: str) -> str:
    """A file's first bytes as text, without a byte order mark."""
    return start.decode(encoding, errors="replace").removeprefix("\ufeff")


def first_row(text: str, delimiter: str, quote: str) -> list[str]:
    """The fields of the first row that isn't empty. Raises: csv.Error."""
    return next((row for row in _reader(io.StringIO(text, newline=""), delimiter, quote, "", False) if row), [])


def without_comments(text: str, comment: str) -> str:
    """A text without the lines at its beginning that are comments."""
    while comment and text.startswith(comment):
        text = text.partition("\n")[2]
    return text


def escape_of(plain: Iterable[str], escaped: Iterable[str], dialect: Dialect, shown: str, is_certain: bool) -> str:
    """The escape of a file, or the empty text; the first two arguments are the file's lines.

    Raises: DatasetError where it may be both, if the file is sure to have backslashes before quotes.
    """
    is_plain = _is_regular(plain, dialect, "")
    is_escaped = _is_regular(escaped, dialect, "\\")
    if is_plain and not is_certain:
        return ""
    if is_plain and is_escaped:
        raise DatasetError(
            f"{shown} has backslashes before quotes, and can be read with or without them as escapes (input.csv.escape). Set "
            'input.csv.escape to "\\\\" if they are no part of the text, to "" if they are.'
        )
    return "\\" if is_escaped else ""


def short_lines(text: TextIO) -> Iterator[str]:
    """The lines of a text. Raises: csv.Error for one that is too long to be looked at."""
    for line in iter(partial(text.readline, _MAX_FIELD), ""):
        if len(line) == _MAX_FIELD:
            raise csv.Error("a line is too long")
        yield line


def _is_regular(lines: Iterable[str], dialect: Dialect, escape: str) -> bool:
    """Whether each row has as many fields as the first, and no text after a closing quote."""
    width = None
    try:
        for row in _reader(lines, dialect.delimiter, dialect.quote, escape, True):
            width = width if width is not None else len(row) or None
            if row and len(row) != width:
                return False
    except csv.Error:
        return False
    return True


def _reader(lines: Iterable[str], delimiter: str, quote: str, escape: str, strict: bool) -> Iterable[list[str]]:
    return csv.reader(
        lines,
        delimiter=delimiter,
        quotechar=quote or None,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        escapechar=escape or None,
        strict=strict,
    )


def _comment_of(text: str) -> str:
    """`#` when the file begins with lines of another shape than the first that doesn't begin with it."""
    lines = text.splitlines()[:200]
    notes = [line for line in lines if line.startswith("#")]
    if not lines or not lines[0].startswith("#") or len(notes) == len(lines):
        return ""
    rest = next(line for line in lines if not line.startswith("#"))
    shapes = [[line.count(sign) for sign in DELIMITERS] for line in (lines[0], rest)]
    return "#" if shapes[0] != shapes[1] else ""


def _choose(
    text: str,
    delimiters: Sequence[str],
    readings: Sequence[tuple[str, str]],
    is_cut: bool,
    shown: str,
    is_tabbed: bool,
) -> tuple[str, str]:
    """The delimiter and the quote of a text."""
    usual = "\t" if is_tabbed else ","
    usual_quote, usual_escape = readings[0]
    if len(delimiters) == len(readings) == 1:
        return delimiters[0], usual_quote
    for quote, escape in readings:
        widths = {sign: _width(text, sign, quote, escape, is_cut) for sign in delimiters}
        fitting = [sign for sign, (width, fits) in widths.items() if fits and width > 1]
        if is_tabbed and "\t" in fitting:
            fitting = ["\t"]
        if len(fitting) > 1:
            raise DatasetError(
                f"{shown} can be read with a {' or a '.join(DELIMITERS[sign] for sign in fitting)} between two fields: each "
                f"row then has {' or '.join(str(widths[sign][0]) for sign in fitting)} of them. Set input.csv.delimiter."
            )
        if fitting:
            is_single = len(readings) > 1 and _is_single(first_row(text, fitting[0], quote))
            return fitting[0], "'" if is_single else quote
    if len(delimiters) == 1:
        return delimiters[0], usual_quote
    wide = [sign for sign in delimiters if _width(text, sign, usual_quote, usual_escape, is_cut)[0] > 1]
    return usual if not wide or usual in wide else wide[0], usual_quote


def _readings(text: str, escape: str | None) -> list[tuple[str, str]]:
    """Quotes and escapes to try, in this order."""
    escapes = [escape] if escape is not None else ["", "\\"]
    found = [('"', each) for each in escapes]
    return [*found, ("'", escapes[0])] if _SINGLE.search(text) else found


def _is_single(names: Sequence[str]) -> bool:
    """Whether there are single quotes around each name of a header."""
    return all(len(name) > 1 and name[0] == name[-1] == "'" for name in names)


def _width(text: str, delimiter: str, quote: str, escape: str, is_cut: bool) -> tuple[int, bool]:
    """How many fields the first row has, and whether all others have as many."""
    rows: list[list[str]] = []
    fits = True
    try:
        for row in _reader(io.StringIO(text, newline=""), delimiter, quote, escape, True):
            if row:
                rows.append(row)
    except csv.Error as error:
        fits = is_cut and "unexpected end" in str(error)
    whole = rows[:-1] if is_cut else rows
    width = len(rows[0]) if rows else 0
    return width, fits and all(len(row) == width for row in whole)


def _refuse_numbers(names: Sequence[str], shown: str) -> None:
    if names and all(_NUMBER.fullmatch(name.strip()) for name in names):
        raise DatasetError(
            f"{shown} begins with {shorten(', '.join(names), 80)!r}: names of columns, or the first row. Set "
            "input.csv.header to true if they are names, to false if the file has none."
        )
