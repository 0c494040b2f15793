"""Files are found as people name them: names before patterns, folders as columns, nothing that a run wrote itself."""

import bz2
import gzip
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from promptmill.cell_values import rows_of
from promptmill.dataset.dataset import Dataset, fingerprint_of, open_dataset
from promptmill.dataset.finding import partitions_of
from promptmill.errors import DatasetError
from promptmill.job.spec import Input


def opened(url: Path | str, output: str | None = None, **spec: object) -> Dataset:
    """The dataset at a URL."""
    return open_dataset(Input.model_validate({"url": str(url), **spec}), output)


def rows(found: Dataset) -> list[dict[str, object]]:
    """All rows."""
    return [row for table in found.read(2) for row in rows_of(table)]


NAMES = ["reviews [final].csv", "data?.csv", "a*b.csv", "with space.csv", "[x]/in.csv", "100%.csv", "ä [1]/b?.csv"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("is_remote", [False, True], ids=["local", "memory"])
def test_existing_name_comes_before_a_pattern(tmp_path: Path, name: str, is_remote: bool) -> None:
    root = "memory://names" if is_remote else str(tmp_path)
    fs = fsspec.filesystem("memory" if is_remote else "file")
    for other in ("dataX.csv", "aXb.csv", "x/in.csv", name):
        fs.makedirs(f"{root}/{other}".rpartition("/")[0], exist_ok=True)
        fs.pipe_file(f"{root}/{other}", f"text\n{other}\n".encode())

    assert rows(opened(f"{root}/{name}")) == [{"text": name}]


@pytest.mark.parametrize("name", ["a b.csv", "a%20b.csv", "100%.csv", "a#b.csv", "ä/b.csv"])
def test_file_url_may_be_percent_encoded(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("text\nx\n")

    assert rows(opened((tmp_path / name).as_uri())) == rows(opened(f"file://{tmp_path / name}")) == [{"text": "x"}]


def test_pipe_is_refused_and_left_out_of_a_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "a.csv").write_text("text\nx\n")

    with pytest.raises(DatasetError, match=r"pipe\.csv is a pipe"):
        opened(tmp_path / "pipe.csv")
    assert rows(opened(tmp_path)) == [{"text": "x"}]


@pytest.mark.parametrize("folder", ["runs [x]", "what?", "plain"])
@pytest.mark.parametrize("end", ["", "/", "/*.csv", "/[ab].csv"])
def test_folder_may_have_any_name_also_before_a_pattern(tmp_path: Path, folder: str, end: str) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text(f"text\n{name}\n")

    assert rows(opened(f"{tmp_path / folder}{end}")) == [{"text": "a.csv"}, {"text": "b.csv"}]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_folders_with_a_value_are_columns(tmp_path: Path, kind: str) -> None:
    folders = [
        "day=2024-01-01/lang=en",
        "day=2024-01-02/lang=__HIVE_DEFAULT_PARTITION__",
        "day=2024-01-02/lang=a%20b%2Fc",
    ]
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
        path = tmp_path / folder / f"p.{kind}"
        if kind == "parquet":
            pq.write_table(pa.table({"text": ["x"]}), path)
        else:
            path.write_text("text\nx\n" if kind == "csv" else '{"text":"x"}\n')

    found = opened(tmp_path, types={"day": "date"})

    assert found.schema.names == ["text", "day", "lang"]
    assert [(str(row["day"]), row["lang"]) for row in rows(found)] == [
        ("2024-01-01", "en"),
        ("2024-01-02", None),
        ("2024-01-02", "a b/c"),
    ]
    assert [table.column_names for table in found.read(2, ["lang"], start=1)] == [["lang"]]
    assert rows(opened(f"{tmp_path}/day=*/*/*.{kind}"))[2]["lang"] == "a b/c"


def test_file_comes_before_its_folders_where_both_name_a_column(tmp_path: Path) -> None:
    (tmp_path / "lang=en").mkdir()
    (tmp_path / "lang=en/a.csv").write_text("text,lang\nx,de\n")

    assert rows(opened(tmp_path)) == [{"text": "x", "lang": "de"}]


def test_only_whole_pairs_below_the_root_are_partitions() -> None:
    assert partitions_of("/in/a=1/plain/=2/b=/x=3.csv", "/in") == (("a", "1"), ("b", ""))


MARKERS = {
    "empty-csv": {"0.csv": b"", "1.csv": b"text\nx\n"},
    "header-only": {"0.csv": b"text\n", "1.csv": b"text\nx\n"},
    "header-of-other-columns": {"0.csv": b"z\n", "1.csv": b"text\nx\n"},
    "empty-jsonl": {"0.jsonl": b"", "1.jsonl": b'{"text":"x"}\n'},
    "empty-gzip": {"0.csv.gz": b"", "1.csv.gz": gzip.compress(b"text\nx\n")},
    "gzip-of-nothing": {"0.csv.gz": gzip.compress(b""), "1.csv.gz": gzip.compress(b"text\nx\n")},
    "empty-parquet": {"0.parquet": b"", "1.csv": b""},
    "folder-of-hadoop": {"p=0_$folder$": b"", "1.csv": b"text\nx\n"},
    "success": {"_SUCCESS": b"", "1.csv": b"text\nx\n"},
    "notes-beside-data": {"read.txt": b"not data, at all", "1.csv": b"text\nx\n"},
}


@pytest.mark.parametrize("name", MARKERS)
def test_files_without_rows_are_left_out(tmp_path: Path, name: str) -> None:
    for file, content in MARKERS[name].items():
        (tmp_path / file).write_bytes(content)
    if name == "empty-parquet":
        (tmp_path / "1.csv").unlink()
        pq.write_table(pa.table({"text": ["x"]}), tmp_path / "1.parquet")

    found = opened(tmp_path)

    assert rows(found) == [{"text": "x"}]
    assert sum("empty file(s)" in note for note in found.notes) == int(name.startswith("empty"))


def test_csv_files_may_have_their_columns_in_another_order_or_lack_some(tmp_path: Path) -> None:
    (tmp_path / "0.csv").write_text("id,text\n1,a\n")
    (tmp_path / "1.csv").write_text("text,id\nb,2\n")
    (tmp_path / "2.csv").write_text("text;more\nc;x\n")

    found = opened(tmp_path)

    assert rows(found) == [
        {"id": 1, "text": "a", "more": None},
        {"id": 2, "text": "b", "more": None},
        {"id": None, "text": "c", "more": "x"},
    ]
    assert any("'id'" in note and "2.csv" in note for note in found.notes)


@pytest.mark.parametrize("output", ["", "/out", "/day=1"], ids=["on-the-input", "inside", "in-a-partition"])
def test_what_a_run_publishes_is_no_input(tmp_path: Path, output: str) -> None:
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "a.parquet")
    before = fingerprint_of(Input.model_validate({"url": str(tmp_path)}), f"{tmp_path}{output}")
    (tmp_path / output.strip("/") / "_failures").mkdir(parents=True)
    for name in ("part-0123abcd-00000.parquet", "_failures/part-0123abcd-00000.parquet"):
        pq.write_table(pa.table({"response": ["x"]}), f"{tmp_path}{output}/{name}")

    found = opened(tmp_path, f"{tmp_path}{output}/")

    assert rows(found) == [{"text": "x"}]
    assert fingerprint_of(Input.model_validate({"url": str(tmp_path)}), f"{tmp_path}{output}") == before


def _lz4(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "lz4") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        pytest.param("gz", gzip.compress, id="gzip"),
        pytest.param("bz2", bz2.compress, id="bzip2"),
        pytest.param("xz", lzma.compress, id="xz"),
        pytest.param("lz4", _lz4, id="lz4"),
        pytest.param("GZ", gzip.compress, id="capitals"),
    ],
)
@pytest.mark.parametrize("name", ["a.tsv", "a.tab", "a.txt", "a.csv", "a.jsonl"])
def test_compressed_text_of_every_suffix_is_read(
    tmp_path: Path, name: str, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    data = b'{"id":"1","text":"x, y"}\n' if name == "a.jsonl" else b"id\ttext\n01\tx, y\n"
    (tmp_path / f"{name}.{suffix}").write_bytes(pack(data))

    assert rows(opened(tmp_path / f"{name}.{suffix}"))[0]["text"] == "x, y"


@pytest.mark.parametrize("name", ["a.csv.bz2", "a.csv.xz", "a.csv.lz4"])
def test_damaged_compressed_file_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no such thing")

    with pytest.raises(DatasetError, match="a.csv"):
        opened(tmp_path / name)


def test_relative_path_is_told_as_the_absolute_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(DatasetError) as caught:
        opened("data/missing.csv")
    assert f"{tmp_path}/data/missing.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("types", "values"),
    [
        pytest.param({"n": "string"}, ["7", None], id="text"),
        pytest.param({"n": "double"}, [7.0, None], id="double"),
    ],
)
def test_job_may_say_the_type_of_a_column_of_parquet(
    tmp_path: Path, types: dict[str, str], values: list[object]
) -> None:
    pq.write_table(pa.table({"n": pa.array([7, None], pa.int32())}), tmp_path / "a.parquet")

    found = opened(tmp_path / "a.parquet", types=types)

    assert [row["n"] for row in rows(found)] == values


@pytest.mark.parametrize(
    ("types", "word"),
    [
        pytest.param({"inner": "int64"}, "column 'inner' of struct.* which can't be int64", id="no-cast"),
        pytest.param({"txt": "int64"}, "no column 'txt'", id="unknown"),
    ],
)
def test_type_that_no_value_can_have_is_an_error(tmp_path: Path, types: dict[str, str], word: str) -> None:
    pq.write_table(pa.table({"text": ["x"], "inner": [{"a": 1}]}), tmp_path / "a.parquet")

    with pytest.raises(DatasetError, match=word):
        rows(opened(tmp_path / "a.parquet", types=types))


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet", "csv.gz"])
def test_folder_of_empty_files_is_an_error(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a.{suffix}").touch()

    with pytest.raises(DatasetError, match="0 rows"):
        opened(tmp_path)
