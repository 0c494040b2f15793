"""The rows of a sheet of an .ods workbook (OpenDocument), as texts: numbers and dates as the file stores them.

The file is a zip whose content.xml has all sheets. We read it as a stream, since the libraries that read it hold every cell
in memory or make floats of all numbers, which changes long ids. A cell or a row may stand for many equal ones: empty ones at
the end are left out, and others count against the bounds of a workbook.
Source: OpenDocument 1.3, part 3, sections 9.1 (tables) and 19.385 (office:value-type).
"""

import re
import zipfile
from collections.abc import Iterator
from typing import IO, Any
from xml.etree.ElementTree import Element, ParseError, XMLPullParser

from promptmill.dataset.workbook import MOST_CELLS, MOST_ROW_BYTES, MOST_ROWS, refuse_large_members
from promptmill.errors import DatasetError
from promptmill.suggest import did_you_mean

_CONTENT = "content.xml"
_OFFICE, _TABLE, _TEXT = (
    f"{{urn:oasis:names:tc:opendocument:xmlns:{name}:1.0}}" for name in ("office", "table", "text")
)
_SHEET, _ROW, _CELLS = f"{_TABLE}table", f"{_TABLE}table-row", (f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell")
_SCAN_BYTES = 1 << 16
_TIME = re.compile(r"-?PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:[.,](\d+))?S)?")
_ERRORS = (zipfile.BadZipFile, ParseError, KeyError, ValueError, EOFError, NotImplementedError, RuntimeError)
_Row = list[str | None]


def document_rows(opened: IO[bytes], sheet: str | None, shown: str) -> Iterator[_Row]:
    """The rows of a sheet, the first one without a name; an empty cell is None, and rows may differ in length.

    Raises: DatasetError.
    """
    try:
        refuse_large_members(opened, shown, streamed=_CONTENT)
        with zipfile.ZipFile(opened) as packed, packed.open(_CONTENT) as content:
            yield from _rows_of(content, sheet, shown)
    except _ERRORS as error:
        raise DatasetError(
            f"{shown} is no workbook that can be read ({type(error).__name__}: {error}); an .ods is written by LibreOffice or "
            "a program like it, and has no password (input.url). Save it again, or give it as CSV."
        ) from error


def _rows_of(content: IO[bytes], sheet: str | None, shown: str) -> Iterator[_Row]:
    names: list[str] = []
    empty = rows = cells = 0
    for name, row in _sheet_rows(content, sheet, names, shown):
        repeated = _repeats(row, "number-rows-repeated")
        texts = _row_texts(row, name, shown)
        if not texts:
            empty += repeated
            continue
        rows += empty + repeated
        cells += repeated * len(texts)
        if rows > MOST_ROWS or cells > MOST_CELLS:
            _refuse_large(name, shown)
        yield from ([] for _ in range(empty))
        yield from (list(texts) for _ in range(repeated))
        empty = 0
    if not names:
        raise DatasetError(f"{shown} has no sheet; its first sheet is read (input.url). Give another file.")
    if sheet is not None and sheet not in names:
        raise DatasetError(
            f"{shown} has no sheet {sheet!r}; it has {', '.join(map(repr, names))} (input.url). {did_you_mean(sheet, names)}"
        )


def _sheet_rows(content: IO[bytes], sheet: str | None, names: list[str], shown: str) -> Iterator[tuple[str, Element]]:
    """The rows of one sheet, with its name; `names` gets those of all sheets up to it."""
    parser = XMLPullParser(("start", "end"))
    open_elements: list[Element] = []
    since_row = 0
    while data := content.read(_SCAN_BYTES):
        parser.feed(data)
        since_row += len(data)
        events: Iterator[Any] = parser.read_events()
        for event, element in events:
            is_sheet = element.tag == _SHEET and not _is_in_cell(open_elements)
            is_wanted = bool(names) and names[-1] == (names[0] if sheet is None else sheet)
            if event == "start":
                open_elements.append(element)
                if is_sheet:
                    names.append(element.get(f"{_TABLE}name", ""))
                continue
            open_elements.pop()
            if is_sheet and is_wanted:
                return
            if element.tag == _ROW and not _is_in_cell(open_elements):
                since_row = 0
                if is_wanted:
                    yield names[-1], element
                open_elements[-1].remove(element)  # else the whole sheet would be held
            elif len(open_elements) == 1:
                open_elements[-1].remove(element)  # styles and the like
        if since_row > MOST_ROW_BYTES:
            raise DatasetError(
                f"{shown} has a row of more than {MOST_ROW_BYTES:,} bytes, which is the limit (input.url). Save the sheet as "
                "CSV."
            )


def _is_in_cell(path: list[Element]) -> bool:
    return any(above.tag in _CELLS for above in path)


def _row_texts(row: Element, sheet: str, shown: str) -> _Row:
    """A row's cells, without empty ones at its end."""
    texts: _Row = []
    empty = 0
    for cell in row:
        if cell.tag not in _CELLS:
            continue
        repeated, text = _repeats(cell, "number-columns-repeated"), _cell_text(cell, shown)
        if text is None:
            empty += repeated
            continue
        if len(texts) + empty + repeated > MOST_CELLS:
            _refuse_large(sheet, shown)
        texts += [None] * empty
        texts += [text] * repeated
        empty = 0
    return texts


def _refuse_large(sheet: str, shown: str) -> None:
    raise DatasetError(
        f"{shown} has more than {MOST_ROWS:,} rows, or more than {MOST_CELLS:,} cells, in the sheet {sheet!r} (input.url). "
        "Save the sheet as CSV."
    )


def _repeats(element: Element, name: str) -> int:
    return max(1, int(element.get(f"{_TABLE}{name}", "1")))


def _cell_text(cell: Element, shown: str) -> str | None:
    kind = cell.get(f"{_OFFICE}value-type")
    if kind is None:
        if cell.get(f"{_TABLE}formula") is not None:
            raise DatasetError(
                f"{shown} has a formula without a stored value; Promptmill computes none (input.url). Open the file in "
                "LibreOffice and save it, or store values."
            )
        return None
    if kind in ("float", "percentage", "currency"):
        return cell.get(f"{_OFFICE}value")
    if kind == "boolean":
        return cell.get(f"{_OFFICE}boolean-value", "").upper()
    if kind == "date":
        return cell.get(f"{_OFFICE}date-value")
    if kind == "time":
        return _clock(cell.get(f"{_OFFICE}time-value", ""))
    paragraphs = [_paragraph(found) for found in cell if found.tag in (f"{_TEXT}p", f"{_TEXT}h")]
    return (
        "\n".join(paragraphs) if paragraphs else cell.get(f"{_OFFICE}string-value")
    ) or None  # pandas writes NaN as ""


def _clock(value: str) -> str:
    """A duration as a clock shows it: PT10H05M00S is 10:05:00."""
    found = _TIME.fullmatch(value)
    if found is None:
        return value
    hours, minutes, seconds = (int(part or 0) for part in found.groups()[:3])
    rest = f".{found[4]}" if found[4] and int(found[4]) else ""
    return f"{'-' if value.startswith('-') else ''}{hours:02}:{minutes:02}:{seconds:02}{rest}"


def _paragraph(element: Element) -> str:
    """A paragraph's text: spaces, tabs and line breaks are elements of their own in it."""
    parts = [element.text or ""]
    for child in element:
        parts += [_inline(child), child.tail or ""]
    return "".join(parts)


def _inline(element: Any) -> str:
    match str(element.tag).removeprefix(_TEXT):
        case "s":
            return " " * int(element.get(f"{_TEXT}c", "1"))
        case "tab":
            return "\t"
        case "line-break":
            return "\n"
        case "span" | "a":
            return _paragraph(element)
        case _:
            return ""  # a note or a drawing isn't the cell's text
