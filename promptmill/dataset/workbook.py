"""The rows of a sheet of an .xlsx workbook, as texts: numbers and dates as the file stores them, text as it stands there.

A workbook is a zip of XML. openpyxl reads a sheet row by row, but all else whole: the table of texts, styles, the list of
sheets. So a member that is read whole may not be large, and a sheet's rows may not either: a row is held whole too.
"""

import re
import warnings
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import IO, Any
from xml.etree.ElementTree import ParseError

from promptmill.dataset.streams import refuse_bomb
from promptmill.errors import DatasetError
from promptmill.extras import missing_extra
from promptmill.suggest import did_you_mean

MOST_ROWS = 1 << 20  # of a sheet, as Excel itself has it
MOST_CELLS = 50_000_000  # of a sheet, with empty ones inside its rows
_MOST_WHOLE_BYTES = 64 << 20  # of a member that is held in memory
_MOST_TEXT_BYTES = 256 << 20  # of the table of texts
MOST_ROW_BYTES = 64 << 20
_MOST_MEMBERS = 10_000
_TEXTS = "xl/sharedStrings.xml"
_SCAN_BYTES = 1 << 20
_ROW_END = re.compile(rb"</(?:\w+:)?row\s*>")
_FORMULA = re.compile(
    rb"<(?:\w+:)?c\b([^>]*)>\s*<(?:\w+:)?f(?:[^>]*/>|[^>]*>[^<]*</(?:\w+:)?f>)\s*(?:<(?:\w+:)?v\s*(?:/>|>\s*</(?:\w+:)?v>))?"
    rb"\s*</(?:\w+:)?c>"
)
_CELL_NAME = re.compile(rb'\br="([A-Z]+[0-9]+)"')
_ESCAPED = re.compile(r"_x(?![dD][89A-Fa-f])([0-9A-Fa-f]{4})_")  # a character that XML can't hold, as Excel writes it
_ERRORS = (
    UserWarning,
    zipfile.BadZipFile,
    ParseError,
    KeyError,
    ValueError,
    TypeError,
    IndexError,
    AttributeError,
    EOFError,
)


def sheet_rows(opened: IO[bytes], sheet: str | None, shown: str) -> Iterator[list[str | None]]:
    """The rows of a sheet, the first one without a name; an empty cell is None, and rows may differ in length.

    Raises: DatasetError.
    """
    try:
        refuse_large_members(opened, shown)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what openpyxl leaves out: drawings, validations, default styles
            book = _openpyxl(shown).load_workbook(opened, read_only=True, data_only=True, keep_links=False)
            found = _sheet_of(book, sheet, shown)
            _scan(book, found, shown)
        yield from _texts_of(found, shown)
    except _ERRORS as error:
        raise DatasetError(
            f"{shown} is no workbook that can be read ({type(error).__name__}: {error}); an .xlsx is written by Excel or a "
            "program like it, and has no password (input.url). Save it again, or give it as CSV."
        ) from error


def _openpyxl(shown: str) -> Any:
    try:
        import openpyxl
    except ImportError as error:
        raise missing_extra(shown, "excel", error) from error
    return openpyxl


def refuse_large_members(opened: IO[bytes], shown: str, streamed: str = "xl/worksheets/") -> None:
    """Refuse a zip whose members would fill the memory; those whose names begin with `streamed` are read as streams.

    Raises: DatasetError.
    """
    with zipfile.ZipFile(opened) as packed:
        members = packed.infolist()
    opened.seek(0)
    if len(members) > _MOST_MEMBERS:
        raise DatasetError(
            f"{shown} has {len(members):,} members; the limit is {_MOST_MEMBERS:,} (input.url). Give it as CSV."
        )
    for member in members:
        refuse_bomb(f"{shown}, {member.filename},", member.compress_size, member.file_size)
        limit = _MOST_TEXT_BYTES if member.filename == _TEXTS else _MOST_WHOLE_BYTES
        is_whole = member.filename.endswith((".xml", ".rels")) and not member.filename.startswith(streamed)
        if is_whole and member.file_size > limit:
            raise DatasetError(
                f"{shown} has {member.file_size:,} bytes in its {member.filename}; the limit is {limit:,}, since all of it is "
                "held in memory (input.url). Save the sheet as CSV."
            )


def _sheet_of(book: Any, sheet: str | None, shown: str) -> Any:
    names: list[str] = [found.title for found in book.worksheets]
    if sheet is not None and sheet not in names:
        raise DatasetError(
            f"{shown} has no sheet {sheet!r}; it has {', '.join(map(repr, names))} (input.url). {did_you_mean(sheet, names)}"
        )
    if not names:
        raise DatasetError(f"{shown} has no sheet with cells; its first sheet is read (input.url). Give another file.")
    return book.worksheets[0 if sheet is None else names.index(sheet)]


def _scan(book: Any, sheet: Any, shown: str) -> None:
    """Read the sheet's XML once for what openpyxl doesn't tell. Raises: DatasetError."""
    held = b""
    with book._archive.open(sheet._worksheet_path) as stream:  # it has no other way to say so
        while data := stream.read(_SCAN_BYTES):
            held += data
            ends = [found.end() for found in _ROW_END.finditer(held)]
            _refuse_formulas(held[: ends[-1]] if ends else b"", shown)
            held = held[ends[-1] :] if ends else held
            if len(held) > MOST_ROW_BYTES:
                raise DatasetError(
                    f"{shown} has a row of more than {MOST_ROW_BYTES:,} bytes in the sheet {sheet.title!r}, which is the "
                    "limit (input.url). Save the sheet as CSV."
                )


def _refuse_formulas(xml: bytes, shown: str) -> None:
    for found in _FORMULA.finditer(xml):
        if b't="str"' not in found[1]:
            name = _CELL_NAME.search(found[1])
            raise DatasetError(
                f"{shown} has a formula without a stored value in {name[1].decode() if name else 'a cell'}; Promptmill "
                "computes none (input.url). Open the file in Excel or LibreOffice and save it, or store values."
            )


def _texts_of(sheet: Any, shown: str) -> Iterator[list[str | None]]:
    sheet.reset_dimensions()  # what the file says of them may be wrong
    cells = 0
    for number, row in enumerate(_rows_of(sheet, shown), 1):
        cells += len(row)
        if number > MOST_ROWS or cells > MOST_CELLS:
            raise DatasetError(
                f"{shown} has more than {MOST_ROWS:,} rows, or more than {MOST_CELLS:,} cells, in the sheet {sheet.title!r} "
                "(input.url). Save the sheet as CSV."
            )
        yield [_text(cell) for cell in row]


def _rows_of(sheet: Any, shown: str) -> Iterator[Any]:
    """The rows as openpyxl has them. Raises: DatasetError where it would give `#VALUE!` for a number that is no date."""
    rows = iter(sheet.iter_rows())
    while True:
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", "Cell .* is marked as a date", UserWarning)
                row = next(rows, None)
        except UserWarning as error:
            raise DatasetError(
                f"{shown} has a number that is no date: {str(error).partition('.')[0]} (input.url). Give the cell another "
                "format or a date."
            ) from error
        if row is None:
            return
        yield row


def _text(cell: Any) -> str | None:
    """A cell as text."""
    value = cell.value
    if value is None:
        return value
    if isinstance(value, str):
        return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), value) if "_x" in value else value
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        zeros = cell.number_format if isinstance(value, int) else ""
        return str(value).zfill(len(zeros)) if zeros and set(zeros) == {"0"} else repr(value)
    if isinstance(value, datetime):
        is_day = value.time() == time(0) and not any(sign in cell.number_format.lower() for sign in "hs")
        return value.date().isoformat() if is_day else value.isoformat()
    if isinstance(value, timedelta):
        minutes, seconds = divmod(round(value.total_seconds()), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    return value.isoformat() if isinstance(value, date | time) else str(value)
