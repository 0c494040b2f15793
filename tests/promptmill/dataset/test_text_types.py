"""A prompt shows what a CSV or JSONL file shows: values that wouldn't come back as they are written are text."""

import csv
import json
from pathlib import Path

import orjson
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptmill.cell_values import rows_of
from promptmill.dataset.dataset import open_dataset
from promptmill.dataset.json_numbers import load_as_written, odd_lines
from promptmill.dataset.text_types import still_possible
from promptmill.job.spec import Input
from promptmill.prompts.template_values import to_text
from tests.support.examples import examples

_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=5)
_NUMBERS = st.one_of(
    st.integers(-(10**30), 10**30).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(-1000, 1000, places=3).map(str),
    st.sampled_from(
        ["0", "-0", "1e3", "1E5", "1.10", "0.1000", "10.0", "007", "+1", "1.", ".5", "9007199254740993", "nan", "inf"]
    ),
)
_TIMES = st.one_of(
    st.dates().map(str),
    st.datetimes().map(str),
    st.datetimes().map(lambda time: time.isoformat()),
    st.sampled_from(
        [
            "0000-00-00",
            "2024-02-30",
            "2024-01-01 24:00:00",
            "2024-01-01T23:59:60",
            "2024-01-01T10:00:00Z",
            "2024-01-01T10:00",
        ]
    ),
    st.sampled_from(["0000-01-01", "2024-01-01T10:00:00.000000", "2024-01-01T10:00:00.5", "2024-1-1"]),
)
_FLAGS = st.sampled_from(["true", "false", "True", "False", "TRUE", "yes", "0", "1"])
_COLUMNS = st.one_of(*(st.lists(kind, min_size=1, max_size=4) for kind in (_TEXT, _NUMBERS, _TIMES, _FLAGS)))


def values_of(path: Path, **spec: object) -> list[object]:
    """The values of the column x."""
    found = open_dataset(Input.model_validate({"url": str(path), **spec}))
    return [row["x"] for table in found.read(2) for row in rows_of(table)]


_DOUBLES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(1e-6, 1e3).map(lambda value: f"{value:.17f}"),
    st.floats(-1e17, 1e17).map(lambda value: f"{value:.3f}"),
    st.from_regex(r"-?(0|[1-9][0-9]{0,17})\.[0-9]{1,18}", fullmatch=True),
    st.sampled_from(["0.0001", "0.00001", "-0.0", "1e+16", "1e+15", "1" * 400 + ".5", "5", "0.1"]),
)


@given(texts=st.lists(_DOUBLES, min_size=1, max_size=3))
def test_texts_are_doubles_only_if_python_prints_them_so(texts: list[str]) -> None:
    expected = all("." in text or "e" in text for text in texts) and all(repr(float(text)) == text for text in texts)

    assert (pa.float64() in still_possible(pa.array(texts), (pa.float64(),))) == expected


@given(texts=_COLUMNS)
@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_csv_value_is_printed_as_the_file_has_it(tmp_path: Path, texts: list[str]) -> None:
    with (tmp_path / "a.csv").open("w", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerows([["n", "x"], *(["1", text] for text in texts)])

    assert [to_text(value) for value in values_of(tmp_path / "a.csv")] == texts


@given(texts=st.lists(_NUMBERS, min_size=1, max_size=4))
@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_json_number_is_printed_as_the_file_has_it(tmp_path: Path, texts: list[str]) -> None:
    numbers = [text for text in texts if _is_json(text)] or ["1"]
    (tmp_path / "a.jsonl").write_text("".join(f'{{"x": {number}}}\n' for number in numbers))

    assert [to_text(value) for value in values_of(tmp_path / "a.jsonl")] == numbers


def _is_json(text: str) -> bool:
    try:
        return text not in ("nan", "inf") and json.loads(text) is not None
    except json.JSONDecodeError:
        return False


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        pytest.param(["1", "-20", "0"], pa.int64(), id="integers"),
        pytest.param(["0.5", "9.99", "10.0", "1e-05", "0.30000000000000004"], pa.float64(), id="doubles"),
        pytest.param(["True", "False"], pa.bool_(), id="truth-values-of-python"),
        pytest.param(["2024-02-29", "0001-01-01"], pa.date32(), id="dates"),
        pytest.param(["2024-01-01T10:00:00", "2024-01-01T10:00:00.000001"], pa.timestamp("us"), id="times"),
        pytest.param(["1", "2.5"], pa.string(), id="integers-beside-doubles"),
        pytest.param(["007"], pa.string(), id="leading-zero"),
        pytest.param(["nan"], pa.string(), id="not-a-number"),
    ],
)
def test_csv_column_is_typed_if_all_values_come_back(tmp_path: Path, texts: list[str], kind: pa.DataType) -> None:
    (tmp_path / "a.csv").write_text("n,x\n" + "".join(f"1,{text}\n" for text in texts))

    assert open_dataset(Input.model_validate({"url": str(tmp_path / "a.csv")})).schema.field("x").type == kind


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        pytest.param(
            '{"x": [123456789012345678901234567890, 1]}', "[123456789012345678901234567890,1]", id="30-digits"
        ),
        pytest.param('{"x": [9007199254740993, 1.5]}', "[9007199254740993,1.5]", id="large-beside-a-double"),
        pytest.param('{"x": [1.10, 2]}', [1.1, 2.0], id="equal-as-doubles"),
        pytest.param('{"x": {"a": 1e3}}', {"a": 1000.0}, id="exponent-in-an-object"),
        pytest.param('{"x": "at 1.10, or [1e3]"}', "at 1.10, or [1e3]", id="numbers-in-a-text"),
    ],
)
def test_numbers_inside_lists_and_objects_lose_no_digits(tmp_path: Path, line: str, kept: object) -> None:
    (tmp_path / "a.jsonl").write_text(line + "\n")

    assert values_of(tmp_path / "a.jsonl") == [kept]


def test_large_integers_inside_lists_stay_when_a_double_comes_late(tmp_path: Path) -> None:
    lines = ['{"x": [9007199254740993]}\n'] * 2_001 + ['{"x": [1.5]}\n']
    (tmp_path / "a.jsonl").write_text("".join(lines))

    assert values_of(tmp_path / "a.jsonl")[0] == "[9007199254740993]"


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        pytest.param("1.10", "double", 1.1, id="double"),
        pytest.param("007", "int64", 7, id="integer"),
        pytest.param("10", "string", "10", id="string"),
        pytest.param("TRUE", "bool", True, id="truth-value"),
        pytest.param("2024-01-31", "date", "2024-01-31", id="date"),
        pytest.param("2024-01-31 10:00:00", "timestamp", "2024-01-31T10:00:00", id="time"),
        pytest.param("2024-01-31T10:00:00+02:00", "timestamp", "2024-01-31T08:00:00+00:00", id="time-with-a-zone"),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_job_may_say_the_type_of_a_column(tmp_path: Path, suffix: str, text: str, kind: str, value: object) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_text(f"n,x\n1,{text}\n2,\n" if suffix == "csv" else json.dumps({"x": text}) + '\n{"x": null}\n')

    found, null = values_of(path, types={"x": kind})

    assert found == value or to_text(found) == value
    assert null is None


_WRITTEN = st.lists(_NUMBERS.filter(lambda text: text[0] not in "+.n0i" and text[-1] != "."), max_size=3)


@given(lines=st.lists(st.tuples(_WRITTEN, st.sampled_from([",", ", ", " ,\t"])), min_size=1, max_size=40))
def test_many_lines_are_looked_at_together_and_no_odd_number_is_missed(lines: list[tuple[list[str], str]]) -> None:
    written = [f'{{"a b": [{between.join(texts)}]}}\n'.encode() for texts, between in lines]
    rows = [orjson.loads(line) for line in written]

    found = odd_lines(written, rows)

    odd = [at for at, line in enumerate(written) if load_as_written(line)[1]]
    assert set(odd) <= set(found)
    for at in set(range(len(written))) - set(found):
        assert orjson.dumps(rows[at]["a b"]).decode() == f"[{','.join(lines[at][0])}]"
