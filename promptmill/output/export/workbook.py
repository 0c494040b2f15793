"""Rows as an Excel workbook, by openpyxl, which comes with the extra `excel`.

Texts come from models and from other people's data, so none may be a formula: each is written as a text cell, and one that
begins like a formula is marked as quoted, so that it stays a text when somebody edits it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any, cast

from promptmill.errors import SetupError
from promptmill.output.export.cells import CELL_CHARACTERS, sheet_value

_MOST_ROWS = 1_048_576  # of a sheet, the header among them (support.microsoft.com, read 2026-11-27)
_MOST_COLUMNS = 16_384
_LIKE_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # OWASP, CSV injection (read 2026-11-27)


def require_fit(rows: int, columns: int) -> None:
    """Raises: SetupError when a sheet can't hold so many, or openpyxl isn't installed."""
    if rows + 1 > _MOST_ROWS or columns > _MOST_COLUMNS:
        raise SetupError(
            f"the output has {rows:,} rows and {columns:,} columns; a workbook's sheet holds {_MOST_ROWS - 1:,} and "
            f"{_MOST_COLUMNS:,}. Export to a file that ends in .csv or .jsonl."
        )
    _openpyxl()


def write_workbook(stream: IO[bytes], columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """Write one sheet; returns how many rows, and how many texts were cut to what a cell holds."""
    openpyxl = _openpyxl()
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("answers")
    count = cut = 0
    sheet.append([_cell(sheet, name) for name in columns])
    for row in rows:
        values = [sheet_value(row[name]) for name in columns]
        cut += sum(isinstance(value, str) and len(value) > CELL_CHARACTERS for value in values)
        sheet.append([_cell(sheet, value) for value in values])
        count += 1
    book.save(stream)
    return count, cut


def _cell(sheet: Any, value: object) -> object:
    if not isinstance(value, str):
        return value
    from openpyxl.cell import WriteOnlyCell

    cell = cast(Any, WriteOnlyCell(sheet))
    cell.value = value[:CELL_CHARACTERS]
    cell.data_type = "s"  # openpyxl takes a text that begins with = for a formula, and #N/A for an error
    if value.startswith(_LIKE_A_FORMULA):
        cell.quotePrefix = True
    return cell


def _openpyxl() -> Any:
    """Raises: SetupError where it isn't installed."""
    try:
        import openpyxl
    except ImportError as error:
        raise SetupError(
            f"a workbook is written by openpyxl, which isn't installed here ({error}). Run: pip install 'promptmill[excel]', "
            "or export to a file that ends in .csv or .jsonl."
        ) from error
    return openpyxl
