"""OpenDocument workbooks (.ods) as inputs: cells as the file has them, sheets by name, and bounds on repeated cells."""

import zipfile
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from promptmill.dataset import open_document
from promptmill.dataset.dataset import open_dataset
from promptmill.errors import DatasetError
from promptmill.job.spec import Input

_NAMES = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table", "text")
)
EMPTY = "<table:table-cell/>"


def text(value: str) -> str:
    return f'<table:table-cell office:value-type="string"><text:p>{value}</text:p></table:table-cell>'


def number(value: str, kind: str = "float") -> str:
    return f'<table:table-cell office:value-type="{kind}" office:value="{value}"><text:p>{value}</text:p></table:table-cell>'


def typed(kind: str, value: str) -> str:
    shown = "<text:p>shown</text:p>"
    return f'<table:table-cell office:value-type="{kind}" office:{kind}-value="{value}">{shown}</table:table-cell>'


def row(*cells: str, repeated: int = 1) -> str:
    return f'<table:table-row table:number-rows-repeated="{repeated}">{"".join(cells)}</table:table-row>'


def sheet(name: str, *rows: str) -> str:
    return f'<table:table table:name="{name}"><table:table-column/>{"".join(rows)}</table:table>'


def save(folder: Path, *sheets: str) -> str:
    """A workbook with these sheets."""
    content = f"""<?xml version="1.0"?><office:document-content {_NAMES}><office:automatic-styles/><office:body>
        <office:spreadsheet>{"".join(sheets)}</office:spreadsheet></office:body></office:document-content>"""
    with zipfile.ZipFile(folder / "a.ods", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        packed.writestr("content.xml", content)
    return str(folder / "a.ods")


def rows_at(url: str, **options: Any) -> list[dict[str, Any]]:
    """All rows of an input."""
    found = open_dataset(Input.model_validate({"url": url, **options}))
    return [row for table in found.read(3) for row in table.to_pylist()]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        pytest.param([number("1"), number("20")], [1, 20], id="whole-numbers"),
        pytest.param([number("1"), number("2.50")], ["1", "2.50"], id="mixed-numbers-stay-as-written"),
        pytest.param([number("1.5"), number("2.25")], [1.5, 2.25], id="doubles"),
        pytest.param([number("0.5", "percentage"), number("7.25", "currency")], [0.5, 7.25], id="shares-and-money"),
        pytest.param([number("1" * 30)] * 2, ["1" * 30] * 2, id="long-numbers-lose-no-digit"),
        pytest.param([text("007"), text("1.10")], ["007", "1.10"], id="texts-with-zeros"),
        pytest.param([typed("boolean", "true"), typed("boolean", "false")], ["TRUE", "FALSE"], id="booleans"),
        pytest.param([typed("date", "2024-01-31")] * 2, [date(2024, 1, 31)] * 2, id="days"),
        pytest.param([typed("date", "2024-01-31T10:05:00")] * 2, [datetime(2024, 1, 31, 10, 5)] * 2, id="times"),
        pytest.param(
            [typed("time", "PT10H05M00S"), typed("time", "PT30H00M07.5S")], ["10:05:00", "30:00:07.5"], id="clock"
        ),
        pytest.param(
            [text('a<text:s text:c="2"/>b<text:tab/>c<text:line-break/><text:span>d</text:span>e'), text("&lt;&amp;")],
            ["a  b\tc\nde", "<&"],
            id="spaces-and-marks-up",
        ),
        pytest.param(
            [
                text("a</text:p><text:p>b"),
                text("x</text:p><office:annotation><text:p>a note</text:p></office:annotation><text:p>"),
            ],
            ["a\nb", "x\n"],
            id="paragraphs-without-notes",
        ),
        pytest.param([text(""), EMPTY], [None, None], id="empty-texts-are-empty-cells"),
    ],
)
def test_cells_are_read_as_the_file_has_them(tmp_path: Path, cells: list[str], expected: list[Any]) -> None:
    url = save(tmp_path, sheet("first", row(text("n"), text("text")), *(row(text("1"), cell) for cell in cells)))

    assert [found["text"] for found in rows_at(url)] == expected


def test_sheet_is_the_first_one_or_the_one_that_the_url_names(tmp_path: Path) -> None:
    url = save(tmp_path, sheet("one", row(text("a")), row(text("x"))), sheet("two 2", row(text("b")), row(text("y"))))

    assert rows_at(url) == [{"a": "x"}]
    assert rows_at(f"{url}#two 2") == rows_at(f"{url}#two%202") == [{"b": "y"}]
    with pytest.raises(DatasetError, match=r"no sheet 'tow 2'; it has 'one', 'two 2'.*[Dd]id you mean 'two 2'"):
        rows_at(f"{url}#tow 2")


def test_repeated_cells_and_rows_are_as_many_and_empty_ones_at_the_end_are_none(tmp_path: Path) -> None:
    five = '<table:table-cell table:number-columns-repeated="5"/>'
    twice = text("x").replace("<table:table-cell", '<table:table-cell table:number-columns-repeated="2"')
    rows = [
        f"<table:table-header-rows>{row(text('a'), text('b'), text('c'), five)}</table:table-header-rows>",
        row(twice, EMPTY, five, repeated=2),
        row(five, repeated=1000),
        row(EMPTY, text("last")),
        row(five, repeated=1_048_000),
    ]
    found = rows_at(save(tmp_path, sheet("s", *rows)))

    assert found == [
        *([{"a": "x", "b": "x", "c": None}] * 2),
        {"a": None, "b": "last", "c": None},
    ]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        pytest.param([row(text("x"), repeated=2_000_000)], "more than 1,048,576 rows", id="rows"),
        pytest.param(
            [row(text("x"), *['<table:table-cell table:number-columns-repeated="90000000"/>', text("y")])],
            "more than 50,000,000 cells",
            id="cells",
        ),
        pytest.param(
            [row('<table:table-cell table:formula="of:=1+1"/>')], "has a formula without a stored value", id="formula"
        ),
    ],
)
def test_a_sheet_that_is_made_to_do_harm_is_refused(tmp_path: Path, rows: list[str], said: str) -> None:
    url = save(tmp_path, sheet("s", row(text("a")), *rows))

    with pytest.raises(DatasetError, match=said):
        rows_at(url)


def test_a_row_that_never_ends_is_refused_before_it_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_document, "MOST_ROW_BYTES", 100_000)
    url = save(tmp_path, sheet("s", row(text("a")), row(*(text(f"{cell:x}" * 9) for cell in range(9_000)))))

    with pytest.raises(DatasetError, match="a row of more than 100,000 bytes"):
        rows_at(url)


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"PK"])
def test_what_is_no_workbook_is_told_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.ods").write_bytes(content)

    with pytest.raises(DatasetError, match=r"is no workbook that can be read.*LibreOffice"):
        rows_at(str(tmp_path / "a.ods"))


def test_entities_that_grow_without_end_are_refused(tmp_path: Path) -> None:
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 50}">' for n in range(1, 9))
    content = f'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY e0 "laugh">{levels}]><d>&e8;</d>'
    with zipfile.ZipFile(tmp_path / "a.ods", "w") as packed:
        packed.writestr("content.xml", content)

    with pytest.raises(DatasetError, match="is no workbook that can be read"):
        rows_at(str(tmp_path / "a.ods"))
