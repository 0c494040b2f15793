"""Rows come in order, complete and typed, from every format; an error names the file that can't be read."""

import gzip
import tracemalloc
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptmill.cell_values import rows_of
from promptmill.dataset.dataset import Dataset, open_dataset
from promptmill.dataset.frames import from_frame
from promptmill.errors import DatasetError
from promptmill.job.spec import Input
from tests.support.examples import examples


def dataset(path: Path | str, **spec: object) -> Dataset:
    """The dataset at a path."""
    return open_dataset(Input.model_validate({"url": str(path), **spec}))


def everything(found: Dataset, chunk_rows: int = 3) -> list[dict[str, object]]:
    """All rows."""
    return [row for chunk in found.read(chunk_rows) for row in rows_of(chunk)]


def test_csv_types_come_from_the_whole_file(tmp_path: Path) -> None:
    rows = ["1,1.5,True,2026-11-24,007,x,"] * 40_000 + ["2,2.0,False,2026-11-25,008,9,late"]
    (tmp_path / "a.csv").write_text("i,f,b,d,zip,mixed,note\n" + "\n".join(rows) + "\n")

    found = dataset(tmp_path / "a.csv")

    kinds = [
        pa.int64(),
        pa.float64(),
        pa.bool_(),
        pa.date32(),
        pa.string(),
        pa.string(),
        pa.string(),
    ]
    assert found.schema.types == kinds
    last = everything(found, 10_000)[-1]
    assert (last["zip"], last["mixed"], last["note"]) == ("008", "9", "late")


@pytest.mark.parametrize(("name", "content"), [("a.csv", "a,b\n1,\n2,\n"), ("a.jsonl", '{"a":1,"b":null}\n')])
def test_column_without_values_is_text(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)

    assert dataset(tmp_path / name).schema.types == [pa.int64(), pa.string()]


def test_csv_with_quotes_newlines_bom_and_empty_fields(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'\xef\xbb\xbfid,text\n1,"two\nlines, one field"\n2,\n3,""\n')

    assert everything(dataset(tmp_path / "a.csv")) == [
        {"id": 1, "text": "two\nlines, one field"},
        {"id": 2, "text": None},
        {"id": 3, "text": ""},
    ]


def test_jsonl_keys_may_be_missing_and_types_are_widened(tmp_path: Path) -> None:
    lines = [
        '{"a":1.5,"b":{"x":1}}',
        "",
        '{"a":2.5,"c":["p"]}',
        '{"a":null,"b":{"y":"z"},"m":1}',
        '{"m":"one"}',
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))

    found = dataset(tmp_path / "a.jsonl")

    assert everything(found) == [
        {"a": 1.5, "b": {"x": 1, "y": None}, "c": None, "m": None},
        {"a": 2.5, "b": None, "c": ["p"], "m": None},
        {"a": None, "b": {"x": None, "y": "z"}, "c": None, "m": "1"},
        {"a": None, "b": None, "c": None, "m": "one"},
    ]


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_compressed_text_is_read(tmp_path: Path, suffix: str) -> None:
    data = b'{"a":1}\n{"a":2}\n'
    packed = gzip.compress(data) if suffix == "gz" else zstandard.compress(data)
    (tmp_path / f"a.jsonl.{suffix}").write_bytes(packed)

    assert everything(dataset(tmp_path / f"a.jsonl.{suffix}")) == [{"a": 1}, {"a": 2}]


def test_a_directory_is_read_in_order_with_chunks_across_files_and_hidden_files_left_out(
    tmp_path: Path,
) -> None:
    for number in range(3):
        pq.write_table(
            pa.table({"a": range(number * 5, number * 5 + 5)}),
            tmp_path / f"{number}.parquet",
        )
    (tmp_path / "_checkpoints").mkdir()
    pq.write_table(pa.table({"z": [1]}), tmp_path / "_checkpoints" / "x.parquet")
    (tmp_path / "readme.txt").write_text("no data")

    found = dataset(tmp_path)

    assert [chunk.num_rows for chunk in found.read(4)] == [4, 4, 4, 3]
    assert [row["a"] for row in everything(found)] == list(range(15))
    assert [row["a"] for row in everything(dataset(tmp_path, limit=7))] == list(range(7))


def test_growing_a_dataset_leaves_its_first_rows_and_changes_its_fingerprint(
    tmp_path: Path,
) -> None:
    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "0.parquet")
    before = dataset(tmp_path)
    pq.write_table(pa.table({"a": [3.5]}), tmp_path / "1.parquet")
    after = dataset(tmp_path)

    assert [row["a"] for row in everything(after)] == [1, 2, 3.5]
    assert before.fingerprint != after.fingerprint == dataset(tmp_path).fingerprint


def test_a_memory_url_a_glob_and_a_frame_are_datasets_too() -> None:
    import pandas as pd

    with fsspec.open("memory://d/a.csv", "w") as file:
        file.write("a\n1\n")  # pyright: ignore[reportAttributeAccessIssue]

    assert everything(dataset("memory://d/*.csv")) == [{"a": 1}]
    frame = from_frame(pd.DataFrame({"a": [1, 2]}), Input(url="memory://frame"))  # pyright: ignore[reportCallIssue]
    assert everything(frame) == [{"a": 1}, {"a": 2}]


BAD = {
    "empty.csv": (b"", "0 rows"),
    "header.csv": (b"a,b\n", "0 rows"),
    "twice.csv": (b"a,a\n1,2\n", "twice"),
    "many.csv": (b"a,b\n1,2\n1,2,3\n", "3 fields in row"),
    "few.csv": (b"a,b\n1\n", "1 fields in row"),
    "latin.csv": (b"a\nfine\ncaf\xe9\n", "isn't UTF-8 in line 3"),
    "bad.jsonl": (b'{"a":1}\n{"a":\n', "isn't JSON in line 2"),
    "list.jsonl": (b"[1]\n", "list in line 1"),
    "list.json": (b'[\n  {"a": 1},\n  {"a": 2}\n]\n', "jq -c '.\\[\\]'"),
    "list-in-a-line.json": (b'[{"a": 1}, {"a": 2}]', "jq -c '.\\[\\]'"),
    "indented.json": (b'{\n  "a": 1\n}\n', "jq -c . FILE"),
    "joined.jsonl": (b'{"a":1}{"a":2}\n', "jq -c . FILE"),
    "nan.jsonl": (b'{"a":1}\n{"a": -Infinity}\n', "no Infinity, so write null"),
    "latin.jsonl": (b'{"a":"caf\xe9"}\n', "isn't UTF-8 in line 1"),
    "cut.jsonl.gz": (gzip.compress(b'{"a":1}\n' * 9)[:-9], "can't be read"),
    "torn.parquet": (b"PAR1 torn", "isn't Parquet"),
    "what.bin": (b"x", "suffix"),
    "packed.csv": (gzip.compress(b"a\n1\n"), "holds gzip, .* end with .gz"),
    "twice.jsonl.gz": (gzip.compress(gzip.compress(b'{"a":1}\n')), "holds gzip"),
    "cut.parquet": (b"PAR1\x15\x04", "isn't Parquet"),
    "packed.parquet": (gzip.compress(b"PAR1"), "holds gzip, .* stands for Parquet"),
    "book.csv": (b"PK\x03\x04\x14\x00\x06", "holds a zip, .* workbook"),
    "parquet.csv": (b"PAR1\x15\x04", "holds Parquet, .* Set input.format"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_error_names_the_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    content, message = BAD[name]
    (tmp_path / name).write_bytes(content)

    with pytest.raises(DatasetError, match=message) as caught:
        everything(dataset(tmp_path / name))
    assert name in str(caught.value)


def test_an_error_names_what_does_not_exist(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "a.parquet")
    (tmp_path / "b.csv").write_text("text\nx\n")
    for wrong, message in (
        ({"url": str(tmp_path / "no.parquet")}, "no file was found"),
        ({"url": str(tmp_path / "*.jsonl")}, "no file was found"),
        ({"url": str(tmp_path)}, "one format"),
        (
            {"url": str(tmp_path / "a.parquet"), "columns": ["txt"]},
            "Did you mean 'text'",
        ),
        ({"url": str(tmp_path / "a.parquet"), "id_column": "id"}, "no column 'id'"),
        ({"url": "nowhere://a.csv"}, "can't be read"),
    ):
        with pytest.raises(DatasetError, match=message):
            open_dataset(Input.model_validate(wrong))


def test_an_error_names_a_parquet_file_that_is_torn_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"a": [f"{number:050d}" for number in range(50_000)]}),
        path,
        compression="none",
    )
    data = bytearray(path.read_bytes())
    data[1000:60_000] = b"\xff" * 59_000
    path.write_bytes(bytes(data))

    with pytest.raises(DatasetError, match=r"a\.parquet"):
        everything(dataset(path), 1_000)


@given(
    values=st.lists(
        st.tuples(
            st.integers(-(2**60), 2**60),
            st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1),
        )
    ),
    chunk_rows=st.integers(1, 7),
    start=st.integers(0, 12),
    length=st.integers(0, 12),
    kind=st.sampled_from(["parquet", "csv", "jsonl"]),
)
@settings(
    max_examples=examples(40),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_slice_of_any_format_is_that_slice(
    tmp_path: Path,
    values: list[tuple[int, str]],
    chunk_rows: int,
    start: int,
    length: int,
    kind: str,
) -> None:
    import csv

    import orjson

    values = values or [(0, "x")]
    rows = [{"n": number, "t": f"t{text}"} for number, text in values]
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=3)
    elif kind == "jsonl":
        path.write_bytes(b"\n".join(orjson.dumps(row) for row in rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
            writer.writerow(["n", "t"])
            writer.writerows([row["n"], row["t"]] for row in rows)

    chunks = list(dataset(path).read(chunk_rows, start=start, stop=start + length))

    assert all(chunk.num_rows == chunk_rows for chunk in chunks[:-1])
    assert [row["t"] for chunk in chunks for row in rows_of(chunk)] == [
        row["t"] for row in rows[start : start + length]
    ]


@pytest.mark.parametrize(("levels", "kept_as_text"), [(30, False), (31, True), (198, True)])
def test_json_column_that_nests_deeper_than_30_levels_is_json_text(
    tmp_path: Path, levels: int, kept_as_text: bool
) -> None:
    value = "[" * levels + "1" + "]" * levels
    (tmp_path / "a.jsonl").write_text(f'{{"deep":{value}}}\n')

    found = dataset(tmp_path / "a.jsonl")

    assert pa.types.is_string(found.schema.field("deep").type) == kept_as_text
    if kept_as_text:
        assert everything(found) == [{"deep": value}]


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_large_file_that_compresses_as_well_as_logs_do_is_read(tmp_path: Path, suffix: str) -> None:
    row = '{"text":"%06d %sms=%d"}\n'
    data = "".join(
        row % (number, "started worker=1 status=ok " * 6, number * 7919) for number in range(100_000)
    ).encode()
    packed = gzip.compress(data) if suffix == "gz" else zstandard.compress(data)
    (tmp_path / f"a.jsonl.{suffix}").write_bytes(packed)

    assert sum(chunk.num_rows for chunk in dataset(tmp_path / f"a.jsonl.{suffix}").read(500)) == 100_000
    assert 20 < len(data) / len(packed) < 100


def test_one_huge_row_group_is_read_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"t": [f"{number:0400d}" for number in range(100_000)]}),
        path,
        row_group_size=10**6,
    )
    found = dataset(path)
    pool = pa.default_memory_pool()
    before, peak = pool.bytes_allocated(), 0
    tracemalloc.start()
    for _ in found.read(500):
        peak = max(peak, pool.bytes_allocated() - before)
    traced = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak + traced < 20 * 2**20  # of 40 MB


def test_a_chunk_of_large_rows_comes_in_pieces_and_is_refused_whole(tmp_path: Path) -> None:
    texts = pa.DictionaryArray.from_arrays([0] * 300, ["a" * (1 << 20)])
    table = pa.table({"id": list(range(300)), "text": texts})
    pq.write_table(table, tmp_path / "a.parquet", store_schema=False)
    dataset = open_dataset(Input.model_validate({"url": str(tmp_path / "a.parquet")}))

    pieces = [piece.column("id").to_pylist() for piece in dataset.pieces(200)]

    assert max(map(len, pieces)) < 100
    assert [number for piece in pieces for number in piece] == list(range(300))
    assert 200 in [sum(map(len, pieces[:count])) for count in range(len(pieces))]  # no piece is in two chunks
    with pytest.raises(DatasetError, match="Set chunk_rows to 47"):
        next(dataset.read(200, ["text"]))
