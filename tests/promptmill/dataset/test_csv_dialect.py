"""CSV is read as it is written, or the error names the key to set: nothing is guessed where two readings are possible."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptmill.cell_values import rows_of
from promptmill.dataset.dataset import open_dataset
from promptmill.errors import DatasetError
from promptmill.job.spec import Input
from tests.support.examples import examples


def rows(path: Path, csv: dict[str, Any] | None = None, at_once: int = 3) -> list[dict[str, Any]]:
    """All rows of a file, read a few at once."""
    found = open_dataset(Input.model_validate({"url": str(path), "csv": csv}))
    return [row for table in found.read(at_once) for row in rows_of(table)]


ROW = {"id": 1, "text": "a, b"}
FOUND: dict[str, tuple[bytes, Any]] = {
    "comma": (b'id,text\n1,"a, b"\n', ROW),
    "semicolon": (b"id;text\n1;a, b\n", ROW),
    "tab": (b"id\ttext\n1\ta, b\n", ROW),
    "pipe": (b"id|text\n1|a, b\n", ROW),
    "sep-of-excel": (b"sep=;\r\nid;text\r\n1;a, b\r\n", ROW),
    "utf-8-mark": (b'\xef\xbb\xbfid,text\n1,"a, b"\n', ROW),
    "utf-8-mark-before-a-quote": (b'\xef\xbb\xbf"id,""no"" more",text\n1,a\n', {'id,"no" more': 1, "text": "a"}),
    "utf-16": ('id,text\n1,"a, b"\n'.encode("utf-16"), ROW),
    "utf-16-be-without-mark": ('id,text\n1,"a, b"\n'.encode("utf-16-be"), ROW),
    "utf-16-semicolon": ("id;text\n1;a, b\n".encode("utf-16"), ROW),
    "single-quotes": (b"id,text\n1,'a, b'\n", ROW),
    "single-quotes-everywhere": (b"'id','text'\n'1','a, b'\n", ROW),
    "apostrophes": (b"id,text\n1,it's\n", {"id": 1, "text": "it's"}),
    "comment": (b'# of today\n#\nid,text\n1,"a, b"\n', ROW),
    "number-sign-in-a-header": (b"#id,text\n1,a\n", {"#id": 1, "text": "a"}),
    "backslash-quotes": (b'id,text\n1,"say \\"hi\\", you"\n', {"id": 1, "text": 'say "hi", you'}),
    "backslash-quotes-at-the-end": (b'id,text\n1,"say \\"hi\\""\n', {"id": 1, "text": 'say "hi"'}),
    "backslash-commas": (b"id,text\n1,a\\, b\n", ROW),
    "null-of-mysql": (b'id\ttext\n1\t\\N\n2\t"a\\"b"\n', {"id": 1, "text": None}),
    "backslash-at-the-end": (b'id,text\n1,"C:\\dir\\"\n2,x\n', {"id": 1, "text": "C:\\dir\\"}),
    "json-in-csv": (b'id,text\n1,"{""a"":""x\\""y""}"\n', {"id": 1, "text": '{"a":"x\\"y"}'}),
    "backslashes-alone": (b"id,text\n1,C:\\dir\\new\n", {"id": 1, "text": "C:\\dir\\new"}),
    "quotes-inside-a-text": (b'id,text\n1,5" disk of 3"\n', {"id": 1, "text": '5" disk of 3"'}),
    "doubled-quotes-beside-delimiters": (b'id,text\n1,""",""a"",""b"\n', {"id": 1, "text": '","a","b'}),
    "quotes-closed-by-the-end": (b'id,text\n1,"a, b"', ROW),
    "one-column": (b"text\nhello\n", {"text": "hello"}),
    "one-column-with-semicolons": (b"text\na;b\n", {"text": "a;b"}),
    "empty-lines-first": (b"\n\nid,text\n1,a\n", {"id": 1, "text": "a"}),
    "carriage-returns": (b"id,text\r1,a\r", {"id": 1, "text": "a"}),
}


@pytest.mark.parametrize("name", FOUND)
def test_how_a_file_is_written_is_found_out(tmp_path: Path, name: str) -> None:
    content, row = FOUND[name]
    (tmp_path / "a.csv").write_bytes(content)

    assert rows(tmp_path / "a.csv")[0] == row


LATE = b"id,text\n" + b"1,abc\n" * 300_000
MANY = 5_000  # rows of it at once: 3 at once take four seconds of CPU
ASKED: dict[str, tuple[bytes, str, dict[str, Any], Any]] = {
    "two-delimiters": (b"a;b,c\n1;2,3\n", "delimiter", {"delimiter": ";"}, {"a": 1, "b,c": "2,3"}),
    "header-of-numbers": (b"1,2\n3,4\n", "header", {"header": False}, {"column_1": 1, "column_2": 2}),
    "header-of-years": (b"2019,2020\n3,4\n", "header", {"header": True}, {"2019": 3, "2020": 4}),
    "backslash-outside-of-quotes": (b'id,text\n1,5\\" x\n', "escape", {"escape": ""}, {"id": 1, "text": '5\\" x'}),
    "latin-1": (b"id,text\n1,\xe4\n", "latin-1", {"encoding": "latin-1"}, {"id": 1, "text": "ä"}),
    "windows-1252": (b"id,text\n1,\x80 5\n", "windows-1252", {"encoding": "windows-1252"}, {"id": 1, "text": "€ 5"}),
    "late-latin-1": (LATE + b"2,\xe4\n", "line 300002", {"encoding": "latin-1"}, {"id": 1, "text": "abc"}),
    "quotes-that-are-not-doubled": (
        b'id,text\n1,"say "hi" now"\n',
        "line 2",
        {"quote": ""},
        {"id": 1, "text": '"say "hi" now"'},
    ),
    "text-behind-a-quote": (b'id,text\n1,"abc" d\n', "closing quote", {"quote": '"'}, {"id": 1, "text": "abc d"}),
    "quote-that-is-never-closed": (
        b'id,text\n1,"abc\n2,b\n',
        "never closed",
        {"quote": ""},
        {"id": 1, "text": '"abc'},
    ),
    "late-quote-that-is-never-closed": (LATE + b'2,"b', "never closed", {"quote": ""}, {"id": 1, "text": "abc"}),
    "late-text-behind-a-quote": (LATE + b'2,"b"c\n', "line 300,002", {"quote": '"'}, {"id": 1, "text": "abc"}),
    "semicolons-in-a-row": (b"a,b\n1,2\n1,2,3;4\n", "semicolon", {"delimiter": ";"}, {"a,b": "1,2"}),
}


@pytest.mark.parametrize("name", ASKED)
def test_error_names_the_key_to_set_and_the_key_is_obeyed(tmp_path: Path, name: str) -> None:
    content, word, options, row = ASKED[name]
    (tmp_path / "a.csv").write_bytes(content)
    at_once = MANY if content.startswith(LATE) else 3
    with pytest.raises(DatasetError) as caught:
        rows(tmp_path / "a.csv", at_once=at_once)
    assert word in str(caught.value)
    assert "input.csv" in str(caught.value)

    if name != "semicolons-in-a-row":
        assert rows(tmp_path / "a.csv", options, at_once)[0] == row


def test_late_backslash_is_found_after_many_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(LATE + b'2,"say \\"hi\\", you"\n')

    assert rows(tmp_path / "a.csv", at_once=MANY)[-1] == {"id": 2, "text": 'say "hi", you'}


def test_comments_and_nulls_are_those_of_the_job(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,text\n# no row\n1,"two\n# lines"\nNA,""\n')

    assert rows(tmp_path / "a.csv", {"comment": "#", "null_values": ["NA"]}) == [
        {"id": 1, "text": "two\n# lines"},
        {"id": None, "text": ""},
    ]


@pytest.mark.parametrize("megabytes", [2, 12, 30])
def test_long_rows_are_read(tmp_path: Path, megabytes: int) -> None:
    text = "word " * (megabytes * 200_000)
    (tmp_path / "a.csv").write_text(f'id,text\n1,ok\n2,"{text}"\n3,ok\n')

    assert [len(row["text"]) for row in rows(tmp_path / "a.csv")] == [2, len(text), 2]


FIELD = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=6)


@given(
    fields=st.lists(st.tuples(FIELD, FIELD), min_size=1, max_size=4),
    delimiter=st.sampled_from(",;\t|"),
    quote=st.sampled_from("\"'"),
    doubles=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
)
@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_dialect_that_a_job_names_gives_the_fields_back(
    tmp_path: Path, fields: list[tuple[str, str]], delimiter: str, quote: str, doubles: bool, encoding: str
) -> None:
    import csv

    with (tmp_path / "a.csv").open("w", encoding=encoding, newline="") as file:
        options = {"doublequote": True} if doubles else {"doublequote": False, "escapechar": "\\"}
        writer = csv.writer(file, delimiter=delimiter, quotechar=quote, quoting=csv.QUOTE_ALL, **options)  # pyright: ignore[reportArgumentType]
        writer.writerows([("one", "two"), *((f"x{first}", second) for first, second in fields)])
    asked = {"delimiter": delimiter, "quote": quote, "escape": "" if doubles else "\\", "encoding": encoding}

    found = open_dataset(
        Input.model_validate(
            {"url": str(tmp_path / "a.csv"), "csv": asked, "types": {"one": "string", "two": "string"}}
        )
    )
    assert [(row["one"], row["two"]) for table in found.read(3) for row in rows_of(table)] == [
        (f"x{first}", second) for first, second in fields
    ]
