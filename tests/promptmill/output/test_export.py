"""An output as one file for other programs: nothing is lost, nothing becomes a formula, and nothing half-written is seen."""

import csv
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.cell_values import Unreadable
from promptmill.errors import OutputError, SetupError
from promptmill.output.export.cells import csv_value, json_value, sheet_value
from promptmill.output.export.exporting import export, kind_of
from promptmill.output.export.text_files import write_csv
from promptmill.output.export.workbook import require_fit, write_workbook
from promptmill.provider.transport import Credentials
from promptmill.simulator import Simulator
from tests.support.jobs import MakeJob, carry_out

FORMULAS = ["=1+1", "+1", "-1+2", "@SUM(A1)", "\t=1", "=cmd|' /C calc'!A0", "#N/A", "#REF!"]


@pytest.fixture
async def output(make_job: MakeJob, credentials: Credentials, simulator: Simulator) -> str:
    """A finished output of several parts, with texts that a spreadsheet would run, and a row that failed."""
    texts = [*FORMULAS, 'quoted, "and" split\nin lines', "", "ümläut 🙂"]
    job = make_job(
        [*texts, None], output={"url": str(make_job(1).output.url), "part_bytes": 1024}, max_failure_ratio=1.0
    )
    await carry_out(job, credentials)
    return job.output.url


def test_a_csv_file_holds_every_row_and_column(output: str, tmp_path: Path):
    target = tmp_path / "answers.csv"
    written = export(output, str(target))
    with target.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    assert written.rows == len(rows) == 11
    assert [row["text"] for row in rows[:8]] == FORMULAS
    assert rows[8]["text"] == 'quoted, "and" split\nin lines'
    assert rows[10]["text"] == "ümläut 🙂"
    assert set(json.loads(rows[0]["response"])) == {"label", "score"}
    assert Decimal(rows[0]["llm_cost_usd"]) > 0


def test_a_jsonl_file_holds_the_values_with_their_types(output: str, tmp_path: Path):
    target = tmp_path / "answers.jsonl"
    export(output, str(target))
    rows = [json.loads(line) for line in target.read_text().splitlines()]

    assert len(rows) == 11
    assert isinstance(rows[0]["score"], float)
    assert isinstance(rows[0]["llm_input_tokens"], int)
    assert rows[9]["text"] == ""


def test_the_failures_are_another_file(output: str, tmp_path: Path):
    target = tmp_path / "failures.jsonl"
    written = export(output, str(target), failures=True)

    assert written.rows == 1
    assert json.loads(target.read_text())["llm_error_kind"] == "template_error"


def test_a_workbook_runs_no_text(output: str, tmp_path: Path):
    openpyxl = pytest.importorskip("openpyxl")
    target = tmp_path / "answers.xlsx"
    written = export(output, str(target))
    sheet = openpyxl.load_workbook(target).active
    place = [cell.value for cell in sheet[1]].index("text")
    found = [row[place] for row in sheet.iter_rows(min_row=2)]

    assert (written.rows, written.cut) == (11, 0)
    assert [cell.value for cell in found[:8]] == FORMULAS
    assert {cell.data_type for cell in found[:8]} == {"s"}
    assert [bool(cell.quotePrefix) for cell in found[:8]] == [True] * 6 + [False] * 2


@given(st.text(max_size=40))
def test_a_workbooks_cell_is_text_whatever_a_text_begins_with(text: str):
    openpyxl = pytest.importorskip("openpyxl")
    stream = io.BytesIO()
    write_workbook(stream, ["a"], [{"a": text}])
    cell = openpyxl.load_workbook(stream).active["A2"]

    assert cell.data_type in {"s", "n", "inlineStr"}
    assert cell.data_type != "n" or cell.value is None  # an empty text


def test_a_text_too_long_for_a_cell_is_cut_and_counted():
    pytest.importorskip("openpyxl")
    assert write_workbook(io.BytesIO(), ["a"], [{"a": "x" * 40_000}, {"a": "y"}]) == (2, 1)


@pytest.mark.parametrize(
    ("value", "in_json", "in_csv", "in_a_cell"),
    [
        pytest.param(None, None, "", None, id="null"),
        pytest.param(True, True, "true", True, id="true"),
        pytest.param(7, 7, "7", 7, id="integer"),
        pytest.param(2**60, 2**60, str(2**60), str(2**60), id="integer-with-many-digits"),
        pytest.param(0.1, 0.1, "0.1", 0.1, id="float"),
        pytest.param(Decimal("1E-7"), "0.0000001", "0.0000001", Decimal("1E-7"), id="decimal"),
        pytest.param(b"\xff", "/w==", "/w==", "/w==", id="bytes"),
        pytest.param(date(2026, 1, 2), "2026-01-02", "2026-01-02", date(2026, 1, 2), id="day"),
        pytest.param(date(1800, 1, 2), "1800-01-02", "1800-01-02", "1800-01-02", id="day-before-excel"),
        pytest.param(
            datetime(2026, 1, 2, tzinfo=UTC),
            "2026-01-02T00:00:00+00:00",
            "2026-01-02T00:00:00+00:00",
            "2026-01-02T00:00:00+00:00",
            id="time-with-a-zone",
        ),
        pytest.param(["a", 1], ["a", 1], '["a",1]', '["a",1]', id="list"),
        pytest.param({"a": Decimal("1")}, {"a": "1"}, '{"a":"1"}', '{"a":"1"}', id="object"),
        pytest.param("a\x00b", "a\x00b", "a\x00b", "a\ufffdb", id="text-that-xml-cannot-hold"),
        pytest.param(Unreadable("why", "?"), "?", "?", "?", id="unreadable"),
    ],
)
def test_a_value_becomes_what_the_file_can_hold(value: object, in_json: object, in_csv: str, in_a_cell: object):
    assert json_value(value) == in_json
    assert csv_value(value) == in_csv
    assert sheet_value(value) == in_a_cell


def test_an_export_replaces_a_file_only_when_it_is_told_to(output: str, tmp_path: Path):
    target = tmp_path / "precious.csv"
    target.write_text("mine")
    with pytest.raises(SetupError, match="--overwrite"):
        export(output, str(target))

    assert target.read_text() == "mine"
    export(output, str(target), overwrite=True)
    assert target.read_text().startswith("row_index,")


def test_an_export_that_fails_leaves_no_file(output: str, tmp_path: Path):
    parts = sorted(Path(output).glob("part-*.parquet"))
    parts[-1].write_bytes(b"damaged")
    target = tmp_path / "to" / "answers.csv"
    with pytest.raises(OutputError, match="can't be read"):
        export(output, str(target))

    assert len(parts) > 1
    assert list(target.parent.iterdir()) == []


def test_an_export_of_a_run_that_has_not_finished_says_so(tmp_path: Path):
    with pytest.raises(OutputError, match="no run has finished there yet"):
        export(str(tmp_path), "answers.csv")


@pytest.mark.parametrize("name", ["answers.CSV", "s3://lake/answers.jsonl", "answers.ndjson", "answers.xlsx"])
def test_the_ending_says_what_is_written(name: str):
    assert kind_of(name) in {"csv", "jsonl", "xlsx"}


def test_an_unknown_ending_is_refused_with_the_known_ones():
    with pytest.raises(SetupError, match=r"\.csv, \.jsonl, \.ndjson, \.xlsx"):
        kind_of("answers.xls")


@pytest.mark.parametrize(("rows", "columns"), [(1_048_576, 3), (3, 16_385)], ids=["rows", "columns"])
def test_what_no_sheet_holds_is_refused_before_it_is_written(rows: int, columns: int):
    with pytest.raises(SetupError, match=r"\.csv or \.jsonl"):
        require_fit(rows, columns)


def test_a_missing_package_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with pytest.raises(SetupError, match=r"pip install 'promptmill\[excel\]'"):
        require_fit(1, 1)


def test_a_csv_text_that_utf8_cannot_hold_is_shown_as_far_as_it_can_be(tmp_path: Path):
    with (tmp_path / "a.csv").open("wb") as file:
        write_csv(file, ["a"], [{"a": "x\ud800y"}])

    assert (tmp_path / "a.csv").read_bytes() == b"a\r\nx?y\r\n"
