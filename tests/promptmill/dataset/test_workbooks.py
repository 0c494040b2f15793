"""Excel workbooks as inputs: cells as the file has them, sheets by name, and bounds on workbooks that are made to do harm."""

import io
import sys
import zipfile
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Literal

import openpyxl
import pytest

from promptmill.dataset import workbook
from promptmill.dataset.dataset import list_input, open_dataset
from promptmill.errors import DatasetError
from promptmill.job.spec import Input
from promptmill.output.reading import read
from promptmill.provider.transport import Credentials
from promptmill.runs.run import FinishedRun
from tests.support.jobs import MakeJob, carry_out, plan_any

Rows = Sequence[Sequence[Any]]


def save(path: Path, *sheets: tuple[str, Rows], formats: dict[str, str] | None = None) -> str:
    """A workbook with these sheets; `formats` are number formats of cells of the first one."""
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for name, rows in sheets:
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(list(row))
    for cell, shown in (formats or {}).items():
        book.worksheets[0][cell].number_format = shown
    book.save(path)
    return str(path)


def rows_at(url: str, **options: Any) -> list[dict[str, Any]]:
    """All rows of an input."""
    found = open_dataset(Input.model_validate({"url": url, **options}))
    return [row for table in found.read(3) for row in table.to_pylist()]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([1, 20], [1, 20], id="whole-numbers"),
        pytest.param([1, 2.5], ["1", "2.5"], id="mixed-numbers-stay-as-written"),
        pytest.param([1.5, 2.25], [1.5, 2.25], id="doubles"),
        pytest.param(["007", "1.10"], ["007", "1.10"], id="texts-with-zeros"),
        pytest.param(["1e3", "true"], ["1e3", "true"], id="texts-that-look-like-others"),
        pytest.param([True, False], ["TRUE", "FALSE"], id="booleans-as-shown"),
        pytest.param([date(2024, 1, 31), date(2024, 2, 1)], [date(2024, 1, 31), date(2024, 2, 1)], id="days"),
        pytest.param([datetime(2024, 1, 31, 10, 5)] * 2, [datetime(2024, 1, 31, 10, 5)] * 2, id="times"),
        pytest.param([time(10, 5), timedelta(hours=30)], ["10:05:00", "30:00:00"], id="times-of-day-and-durations"),
        pytest.param(["a\nb", 'say "x", y'], ["a\nb", 'say "x", y'], id="line-breaks-and-quotes"),
        pytest.param(
            ["a_x000D_\nb", "_x005F_x000D_", "_x00_"], ["a\r\nb", "_x000D_", "_x00_"], id="escaped-characters"
        ),
        pytest.param(["#N/A", None], ["#N/A", None], id="error-and-empty"),
    ],
)
def test_cells_are_read_as_the_file_has_them(tmp_path: Path, values: list[Any], expected: list[Any]) -> None:
    url = save(tmp_path / "a.xlsx", ("first", [["text", "n"], *([value, 1] for value in values)]))

    assert [row["text"] for row in rows_at(url)] == expected


def test_number_that_is_no_date_is_refused_and_its_cell_named(tmp_path: Path) -> None:
    url = save(tmp_path / "a.xlsx", ("s", [["day"], [99_999_999]]), formats={"A2": "yyyy-mm-dd"})

    with pytest.raises(DatasetError, match=r"Cell A2 .* 99999999"):
        rows_at(url)


def test_leading_zeros_of_a_number_format_are_kept(tmp_path: Path) -> None:
    url = save(tmp_path / "a.xlsx", ("s", [["zip"], [123], [4567]]), formats={"A2": "00000", "A3": "00000"})

    assert rows_at(url) == [{"zip": "00123"}, {"zip": "04567"}]


def test_sheet_is_the_first_one_or_the_one_that_the_url_names(tmp_path: Path) -> None:
    url = save(tmp_path / "a.xlsx", ("one", [["a"], ["x"]]), ("two 2", [["b"], ["y"]]))

    assert rows_at(url) == [{"a": "x"}]
    assert rows_at(f"{url}#two 2") == rows_at(f"{url}#two%202") == [{"b": "y"}]
    with pytest.raises(DatasetError, match=r"no sheet 'tow 2'; it has 'one', 'two 2'.*[Dd]id you mean 'two 2'"):
        rows_at(f"{url}#tow 2")
    fingerprints = {list_input(Input(url=address)).fingerprint for address in (url, f"{url}#one", f"{url}#two 2")}
    assert len(fingerprints) == 3


def test_folder_of_workbooks_is_one_dataset(tmp_path: Path) -> None:
    save(tmp_path / "a.xlsx", ("s", [["t", "n"], ["a", 1]]))
    save(tmp_path / "b.XLSX", ("s", [["n", "t"], [2, "b"], [], [None, None], ["x", "c"], [3]]))

    assert rows_at(str(tmp_path)) == [
        {"t": "a", "n": "1"},
        {"t": "b", "n": "2"},
        {"t": "c", "n": "x"},
        {"t": None, "n": "3"},
    ]


def test_asked_types_hold_and_a_value_that_does_not_fit_is_its_rows_failure(tmp_path: Path) -> None:
    url = save(tmp_path / "a.xlsx", ("s", [["n"], ["007"], ["x"]]))
    found = open_dataset(Input.model_validate({"url": url, "types": {"n": "int64"}}))
    (table,) = found.read(5, ["n", "\0unreadable"])

    assert table["n"].to_pylist() == [7, None]
    assert "row 2, column 'n'" in table["\0unreadable"].to_pylist()[1]["reason"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param([["a"], ["x", "note"]], "value in row 2 to the right of its 1 columns", id="beyond-the-header"),
        pytest.param([["a", "a"], ["x", "y"]], "more than one column 'a'", id="repeated-name"),
        pytest.param([["a"]], "has 0 rows", id="header-only"),
        pytest.param([], "has 0 rows", id="empty"),
        pytest.param([["a"], ["=1+1"]], "formula without a stored value in A2", id="formula"),
    ],
)
def test_sheet_that_is_no_table_is_refused(tmp_path: Path, rows: Rows, message: str) -> None:
    url = save(tmp_path / "a.xlsx", ("s", rows))

    with pytest.raises(DatasetError, match=message):
        rows_at(url)


def changed(path: Path, member: str, data: bytes | None, kind: Literal[0, 8] = zipfile.ZIP_DEFLATED) -> str:
    """The workbook with another content of a member; None: without it."""
    out = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", kind) as new:
        for name in old.namelist():
            if name != member:
                new.writestr(name, old.read(name))
        if data is not None:
            new.writestr(member, data)
    path.write_bytes(out.getvalue())
    return str(path)


SHEET = "xl/worksheets/sheet1.xml"
OPENED = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
CLOSED = b"</sheetData></worksheet>"
CELL = b'<row r="%d"><c r="%s%d" t="inlineStr"><is><t>x</t></is></c></row>'
FAR = b'<row><c r="ZZZ2"/></row>'
ENTITIES = b"".join(b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10) for n in range(1, 10))
BOMB = b'<!DOCTYPE x [<!ENTITY e0 "x">' + ENTITIES + b"]><worksheet>&e9;</worksheet>"


@pytest.mark.parametrize(
    ("member", "data", "message"),
    [
        pytest.param(SHEET, b" " * (20 << 20), "the limit is 100 times as many", id="zip-bomb"),
        pytest.param("xl/extra.xml", b" " * (20 << 20), "the limit is 100 times as many", id="zip-bomb-beside"),
        pytest.param(SHEET, BOMB, "is no workbook that can be read", id="entities"),
        pytest.param(
            SHEET, OPENED + CELL % (1, b"A", 1) + CELL % (2_000_000_000, b"A", 2) + CLOSED, "more than", id="far-row"
        ),
        pytest.param(SHEET, OPENED + CELL % (1, b"A", 1) + FAR * 100 + CLOSED, "more than .* cells", id="far-column"),
        pytest.param(SHEET, OPENED, "is no workbook that can be read", id="cut-off"),
        pytest.param(SHEET, None, "has no sheet with cells", id="no-sheet-in-it"),
        pytest.param("xl/workbook.xml", b"<x/>", "is no workbook|has no sheet", id="no-workbook-in-it"),
    ],
)
def test_hostile_workbook_is_an_error_in_bounded_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, member: str, data: bytes | None, message: str
) -> None:
    monkeypatch.setattr(workbook, "MOST_ROWS", 10_000)
    monkeypatch.setattr(workbook, "MOST_CELLS", 1_000_000)
    path = tmp_path / "a.xlsx"
    save(path, ("s", [["a"], ["x"]]))

    with pytest.raises(DatasetError, match=message):
        rows_at(changed(path, member, data))


@pytest.mark.parametrize(
    ("bound", "message"),
    [
        pytest.param("MOST_ROW_BYTES", "a row of more than 10 bytes", id="row"),
        pytest.param("_MOST_WHOLE_BYTES", "the limit is 10, since all of it is held in memory", id="styles"),
        pytest.param("_MOST_MEMBERS", "members; the limit is", id="members"),
    ],
)
def test_what_is_held_in_memory_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, message: str
) -> None:
    monkeypatch.setattr(workbook, bound, 10 if "BYTES" in bound else 2)
    url = changed(Path(save(tmp_path / "a.xlsx", ("s", [["a"], ["x"]]))), "xl/none.xml", None)

    with pytest.raises(DatasetError, match=message):
        rows_at(url)


def test_file_that_is_no_workbook_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"a,b\n1,2\n")

    with pytest.raises(DatasetError, match="no workbook that can be read .BadZipFile"):
        rows_at(str(tmp_path / "a.xlsx"))


def test_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = save(tmp_path / "a.xlsx", ("s", [["a"], ["x"]]))
    monkeypatch.setitem(sys.modules, "openpyxl", None)

    with pytest.raises(DatasetError, match=r"pip install 'promptmill\[excel\]'"):
        rows_at(url)


async def test_run_over_a_sheet_publishes_its_rows_and_is_found_finished(
    make_job: MakeJob, credentials: Credentials, tmp_path: Path
) -> None:
    rows = [["text", "zip"], *([f"text {number}", f"{number:05}"] for number in range(7))]
    url = save(tmp_path / "in.xlsx", ("notes", [["x"]]), ("data", rows))
    job = make_job(1, input__url=f"{url}#data", chunk_rows=3)
    manifest = await carry_out(job, credentials)

    assert (manifest.succeeded, manifest.job["input"]["url"]) == (7, f"{url}#data")
    assert read(str(tmp_path / "out"))["zip"].to_list() == [f"{number:05}" for number in range(7)]
    assert isinstance(plan_any(job, credentials), FinishedRun)
