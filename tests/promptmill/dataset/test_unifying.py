"""Files of different types: read as one where no value changes, else refused with file, column and types."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from promptmill.cell_values import Unreadable, rows_of, values_of
from promptmill.dataset.dataset import Dataset, open_dataset
from promptmill.dataset.frames import from_frame
from promptmill.errors import DatasetError
from promptmill.job.spec import Input

S = pa.string()


def dataset(folder: Path, *tables: Any, **spec: object) -> Dataset:
    """The dataset of a folder with these tables as files."""
    for number, table in enumerate(tables):
        pq.write_table(table if isinstance(table, pa.Table) else pa.table(table), folder / f"{number}.parquet")
    return open_dataset(Input.model_validate({"url": str(folder), **spec}))


def column(found: Dataset, name: str = "x") -> pa.ChunkedArray:
    return pa.concat_tables(found.read(2, [name]))[name]


def invalid_text(*values: bytes) -> pa.Array:
    return pa.array(values, pa.binary()).view(S)


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        pytest.param(pa.array(["a", "b"]).dictionary_encode(), pa.array(["c"]), S, id="dictionary-and-text"),
        pytest.param(pa.array(["a"]), pa.array(["c"], pa.string_view()), S, id="text-and-view"),
        pytest.param(pa.array([1], pa.int32()), pa.array([2**40]), pa.int64(), id="integers"),
        pytest.param(pa.array([1], pa.uint64()), pa.array([-1]), pa.int64(), id="unsigned-that-fits"),
        pytest.param(pa.array([None], pa.null()), pa.array(["c"]), S, id="nulls"),
        pytest.param(
            pa.array([1], pa.timestamp("us")), pa.array([1], pa.timestamp("ns")), pa.timestamp("ns"), id="units"
        ),
        pytest.param(pa.array([2**53]), pa.array([0.5]), pa.float64(), id="numbers"),
        pytest.param(invalid_text(b"\xc9"), pa.array(["c"], pa.large_string()), pa.large_string(), id="invalid-text"),
    ],
)
def test_files_of_two_types_are_read_as_one_with_every_value(
    tmp_path: Path, first: pa.Array, second: pa.Array, kind: pa.DataType
) -> None:
    found = dataset(tmp_path, {"x": first}, {"x": second})

    values = column(found)

    assert values.type == kind
    assert len(values) == len(first) + len(second)
    assert [str(value) for value in values_of(values)[len(first) :]] == [
        str(value) for value in second.cast(kind).to_pylist()
    ]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        pytest.param(
            pa.array([1]), pa.array(["c"]), r"1\.parquet doesn't fit .*0\.parquet.*'x' is string.*int64", id="types"
        ),
        pytest.param(
            pa.array([2**53 + 1]), pa.array([0.5]), r"0\.parquet has a value in .*'x' \(int64\).*double", id="digits"
        ),
        pytest.param(pa.array([2**64 - 1], pa.uint64()), pa.array([1]), r"'x' \(uint64\).*int64", id="unsigned"),
        pytest.param(
            pa.array([2**62], pa.timestamp("us")),
            pa.array([1], pa.timestamp("ns")),
            r"timestamp\[us\]",
            id="after-2262",
        ),
        pytest.param(
            pa.array([1]).cast(pa.decimal128(25, 2)), pa.array([0.5]), r"doesn't fit.*double.*decimal128", id="rounded"
        ),
        pytest.param(
            pa.DictionaryArray.from_arrays(pa.array([0, 1]), invalid_text(b"ok", b"\xc9")),
            pa.array(["c"]),
            r"'x' \(dictionary.*UTF8",
            id="invalid-dictionary",
        ),
    ],
)
def test_files_are_refused_when_a_value_would_change(
    tmp_path: Path, first: pa.Array, second: pa.Array, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        dataset(tmp_path, {"x": first}, {"x": second})


def test_a_required_column_that_a_later_file_lacks_is_null_there(tmp_path: Path) -> None:
    required = pa.table([pa.array(["a"])], schema=pa.schema([pa.field("x", S, nullable=False)]))

    found = dataset(tmp_path, required, {"y": [1]})

    assert found.schema.field("x").nullable
    assert column(found).to_pylist() == ["a", None]


def test_a_name_with_dots_is_not_taken_for_a_field_of_a_struct(tmp_path: Path) -> None:
    table = {"a": [{"b": 1}], "a.b": ["dots"], "": ["empty"], "a\0b": ["nul"], "z": [[1]]}

    found = dataset(tmp_path, table)

    for name, values in table.items():
        assert column(found, name).to_pylist() == values


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="more than one column 'x'"):
        dataset(tmp_path, pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"]))


def test_a_value_that_python_cannot_hold_is_marked_and_others_are_read(tmp_path: Path) -> None:
    zone = pa.array([1, None], pa.timestamp("us", "Mars/Olympus"))
    found = dataset(
        tmp_path, {"x": invalid_text(b"ok", b"R\xc9U"), "d": pa.array([0, 2932897], pa.date32()), "z": zone}
    )

    first, second = rows_of(pa.concat_tables(found.read(2)), start=7)

    assert first["x"] == "ok"
    assert isinstance(first["z"], Unreadable)
    assert second["x"] == Unreadable("text that isn't valid UTF-8", "R\N{REPLACEMENT CHARACTER}U", 8)
    assert str(second["d"]) == "10000-01-01"
    assert second["z"] is None


def from_columns(**columns: Any) -> Dataset:
    return from_frame(pd.DataFrame(columns), Input.model_validate({"url": "memory://frame"}))


def test_a_frame_keeps_text_with_half_a_surrogate_pair() -> None:
    found = from_columns(x=pd.Series(["fine", "half \ud83d", None], dtype=object), n=[1, 2, 3])

    first, second, third = values_of(column(found))

    assert (first, third) == ("fine", None)
    assert isinstance(second, Unreadable)
    assert column(found, "n").to_pylist() == [1, 2, 3]


def test_a_frames_seconds_become_what_parquet_holds() -> None:
    found = from_columns(x=pd.Series([pd.Timestamp("2026-01-01")]).astype("datetime64[s]"))

    assert found.schema.field("x").type == pa.timestamp("ms")


def test_a_frames_value_that_parquet_cannot_hold_is_refused() -> None:
    with pytest.raises(DatasetError, match="'x'.*timestamp"):
        from_columns(x=pd.Series([2**60], dtype="int64").astype("datetime64[s]"))
