"""Rows that can't be read are errors that name them, or keep their places and say why."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.cell_values import rows_of
from promptmill.dataset.csv_options import BLOCKS
from promptmill.dataset.dataset import open_dataset
from promptmill.dataset.unreadable import UNREADABLE, cast_fitting
from promptmill.errors import DatasetError
from promptmill.job.spec import Input

CSV = b"a,b\n1,x\n2,y,z\n3,z\n4\n5,v\n6,u,t\n7,s,r\n"
JSONL = b'{"a": 1, "b": "x"}\n{"a": 2,\n{"a": 3, "b": "z"}\n[4]\n\n{"a": 5, "b": "v"}\n{"b": "caf\xe9"}\n"7"\n'
RAW = {
    "a.csv": [None, "2,y,z", None, "4", None, "6,u,t", "7,s,r"],
    "a.jsonl": [None, '{"a": 2,', None, "[4]", None, r'{"b": "caf\xe9"}', '"7"'],
}


def read(path: Path, chunk_rows: int = 2, start: int = 0, **spec: Any) -> list[dict[str, Any]]:
    found = open_dataset(Input.model_validate({"url": str(path), **spec}))
    columns = [*found.schema.names, UNREADABLE]
    return [row for table in found.read(chunk_rows, columns, start) for row in rows_of(table)]


def raw_of(row: dict[str, Any]) -> str | None:
    return None if row[UNREADABLE] is None else row[UNREADABLE]["raw"]


@pytest.mark.parametrize(("name", "content"), [("a.csv", CSV), ("a.jsonl", JSONL)])
def test_skipped_rows_keep_their_places(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)

    found = read(tmp_path / name, on_bad_row="skip")

    assert [raw_of(row) for row in found] == RAW[name]
    assert [(row["a"], row["b"]) for row in found if row[UNREADABLE] is None] == [(1, "x"), (3, "z"), (5, "v")]
    assert all(row["a"] is row["b"] is None for row in found if row[UNREADABLE] is not None)
    assert read(tmp_path / name, start=3, on_bad_row="skip") == found[3:]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        pytest.param("a.csv", CSV, ["3 fields in row 3", "3 other rows", "1 fields in row 5", "in row 7"], id="csv"),
        pytest.param(
            "a.jsonl",
            JSONL,
            ["a.jsonl isn't JSON in line 2", "3 other rows", "list in line 4", "isn't UTF-8 in line 7"],
            id="jsonl",
        ),
    ],
)
def test_error_names_the_first_three_rows_and_counts_all(
    tmp_path: Path, name: str, content: bytes, words: list[str]
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(DatasetError) as caught:
        read(tmp_path / name)

    places = [str(caught.value).find(word) for word in [*words, "input.on_bad_row"]]
    assert -1 not in places and places == sorted(places), str(caught.value)


def test_error_counts_the_rows_of_all_files(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.csv").write_bytes(CSV)

    with pytest.raises(DatasetError, match=r"0\.csv has 3 fields in row 3 .* 11 other rows"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        pytest.param("a.csv", "n,x\n1,5\n1\n1,six\n", "'six' in row 4, column 'x', which is no int64", id="csv"),
        pytest.param("a.jsonl", '{"x": 5}\n\n7\n{"x": "six"}\n', "'six' in line 4, column 'x'", id="jsonl"),
    ],
)
def test_value_of_another_type_is_null_and_its_row_unreadable(
    tmp_path: Path, name: str, content: str, reason: str
) -> None:
    (tmp_path / name).write_text(content)

    found = read(tmp_path / name, types={"x": "int64"}, on_bad_row="skip")

    assert [row["x"] for row in found] == [5, None, None]
    assert found[2][UNREADABLE]["raw"] == "six"
    assert reason in found[2][UNREADABLE]["reason"]
    assert found[0][UNREADABLE] is None


def test_value_of_another_type_in_parquet_makes_its_row_unreadable(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": ["5", "six", None], "y": [1.0, 2.0, 2.5]}), tmp_path / "a.parquet")

    found = read(tmp_path / "a.parquet", types={"x": "int64", "y": "int64"})

    assert [(row["x"], row["y"], raw_of(row)) for row in found] == [(5, 1, None), (None, 2, "six"), (None, None, "2.5")]


@given(st.lists(st.sampled_from(["1", "-2", "x", "", None, "9" * 30])))
def test_values_that_fit_a_type_are_those_that_fit_it_alone(texts: list[str | None]) -> None:
    found, misfits = cast_fitting(pa.array(texts, pa.string()), pa.int64())

    fits = [text is None or text in ("1", "-2") for text in texts]
    assert misfits == [place for place, does_fit in enumerate(fits) if not does_fit]
    assert found.to_pylist() == [None if text not in ("1", "-2") else int(text) for text in texts]


LINES = {"1,2": True, '"a\nb",c': True, ",": True, '"a\n\nb",c': True, "x,y,z": False, "x": False, '"a\nb",2,3': False}


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["", *LINES]), min_size=1, max_size=30),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.sampled_from([48, 100, 1000]),
)
def test_csv_rows_keep_their_places_whatever_the_blocks(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], end: str, header: bool, block_bytes: int
) -> None:
    """A small block stands for a large file: Arrow tells the number of a row that it leaves out within the whole file."""
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", newline="") as file:
        file.write(("h,k" + end if header else "1,2" + end) + end.join(lines) + end)
    kept = [*([] if header else ["1,2"]), *(line for line in lines if line)]
    if not kept:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("promptmill.dataset.csv_reader.BLOCKS", (block_bytes, *BLOCKS))
        csv = {"header": header, "delimiter": ",", "quote": '"'}
        found = read(path, 7, on_bad_row="skip", csv=csv, types=dict.fromkeys(["h", "k"] if header else [], "string"))

    assert [raw_of(row) for row in found] == [None if LINES[line] else line for line in kept]


def test_rows_that_cannot_be_read_are_bounded_in_memory(tmp_path: Path) -> None:
    """Arrow gives nothing until a row can be read, so what it leaves out has a limit."""
    with (tmp_path / "a.csv").open("w") as file:
        file.write("a,b\n")
        for _ in range(70):
            file.write("x" * (1 << 20) + "\n")

    with pytest.raises(DatasetError, match="more than can be held"):
        read(tmp_path / "a.csv", on_bad_row="skip", csv={"delimiter": ",", "quote": '"'})


def test_long_row_that_cannot_be_read_is_cut(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"a": 1}) + "\n" + "x" * (3 << 20) + "\n")

    assert len(raw_of(read(tmp_path / "a.jsonl", on_bad_row="skip")[1]) or "") <= 1 << 20
