"""Delta tables as inputs, written by the library deltalake: one version's rows, with its types, and never a removed file."""

import json
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, Field, write_deltalake
from deltalake.schema import PrimitiveType

from promptmill import allowed_urls
from promptmill.allowed_urls import OPEN, URLS_SETTING, close_to_unlisted
from promptmill.dataset.dataset import Dataset, list_input, open_dataset
from promptmill.errors import DatasetError, JobError
from promptmill.job.spec import Input

DAYS = [date(2024, 1, 31), date(2024, 2, 1), None]


def opened(url: str, **options: Any) -> Dataset:
    return open_dataset(Input.model_validate({"url": url, **options}))


def values(found: Dataset, column: str = "text") -> list[Any]:
    return [value for table in found.read(2) for value in table[column].to_pylist()]


def rows(texts: Sequence[str]) -> pa.Table:
    days = pa.array([DAYS[number % 3] for number in range(len(texts))], pa.date32())
    return pa.table({"text": list(texts), "day": days})


@pytest.fixture
def table(tmp_path: Path) -> str:
    """A table partitioned by day, of which a row was deleted and to which a column was added later."""
    folder = str(tmp_path / "my table")
    write_deltalake(folder, rows(["a", "b", "c", "d"]), partition_by=["day"])
    DeltaTable(folder).delete("text = 'd'")
    more = rows(["e"]).append_column("score", pa.array([7], pa.int64()))
    write_deltalake(folder, more, mode="append", schema_mode="merge")
    return folder


@pytest.mark.parametrize("prefix", [pytest.param("", id="folder"), pytest.param("delta+file://", id="named-as-delta")])
def test_rows_of_the_newest_version_are_read_with_the_types_of_the_table(table: str, prefix: str) -> None:
    found = opened(f"{prefix}{table}")

    assert sorted(values(found)) == ["a", "b", "c", "e"]
    assert dict(zip(values(found), values(found, "day"), strict=True)) == {
        "a": DAYS[0],
        "b": DAYS[1],
        "c": None,
        "e": DAYS[0],
    }
    assert dict(zip(values(found), values(found, "score"), strict=True)) == {"a": None, "b": None, "c": None, "e": 7}
    assert (found.schema.field("day").type, list(found.versions.values())) == (pa.date32(), ["2"])
    assert any("is read at version 2" in note for note in found.notes)


def test_rows_keep_their_order_at_a_version_and_new_ones_come_last(table: str) -> None:
    before = values(opened(table))
    write_deltalake(table, rows(["f"]), mode="append", schema_mode="merge")

    assert values(opened(table)) == [*before, "f"]
    assert values(opened(f"delta+file://{table}?version=2")) == before
    assert sorted(values(opened(f"delta+file://{table}?version=0"))) == ["a", "b", "c", "d"]


def test_version_is_part_of_the_identity(table: str) -> None:
    urls = [table, f"delta+file://{table}?version=2", f"delta+file://{table}?version=1"]
    fingerprints = [list_input(Input(url=url)).fingerprint for url in urls]

    assert len(set(fingerprints)) == 3
    assert fingerprints == [list_input(Input(url=url)).fingerprint for url in urls]
    pinned = list_input(Input(url=table), pinned={table: "1"})
    assert pinned.versions == {table: "1"}


def test_columns_without_a_value_in_any_file_are_null_and_asked_types_hold(tmp_path: Path) -> None:
    folder = str(tmp_path / "t")
    write_deltalake(folder, rows(["a"]), partition_by=["day"])
    DeltaTable(folder).alter.add_columns([Field("later", PrimitiveType("double"))])
    found = opened(folder, types={"day": "string"})

    assert found.schema.field("later").type == pa.float64()
    assert values(found, "later") == [None]
    assert values(found, "day") == ["2024-01-31"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        pytest.param("{table}/*/*.parquet", "leads to the Delta table .*my table", id="glob-inside"),
        pytest.param("{table}/day=2024-01-31", "leads to the Delta table .*my table", id="partition-inside"),
        pytest.param("{table}/..", "leads to the Delta table .*my table", id="folder-around"),
        pytest.param("{table}/../**", "leads to the Delta table .*my table", id="glob-around"),
        pytest.param(
            "delta+file://{table}?version=77", "can't be read as a Delta table at version 77", id="no-version"
        ),
        pytest.param(
            "delta+file://{table}?version=x", "asks for version 'x'; a version is a whole number", id="no-number"
        ),
        pytest.param("delta+file://{table}?at=2", "Write .version=12", id="other-query"),
        pytest.param("delta+file://{table}/none", "can't be read as a Delta table", id="no-table"),
        pytest.param("delta+memory://x/y", "on a storage from which no Delta table is read", id="storage"),
    ],
)
def test_what_is_no_version_of_a_table_is_refused(table: str, url: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        opened(url.format(table=table))


def test_table_is_no_csv(table: str) -> None:
    with pytest.raises(DatasetError, match="is a table, whose files are Parquet; input.format asks for csv"):
        opened(table, format="csv")


def commit(folder: Path, version: int, *actions: dict[str, Any]) -> None:
    """Write a commit to a table's log by hand."""
    (folder / "_delta_log").mkdir(exist_ok=True, parents=True)
    lines = "\n".join(json.dumps(action) for action in actions)
    (folder / "_delta_log" / f"{version:020}.json").write_text(lines)


def by_hand(folder: Path, path: str, features: Sequence[str] = (), **settings: str) -> str:
    """A table whose log says what the library doesn't write."""
    pq.write_table(pa.table({"text": ["x"]}), folder.parent / "secret.parquet")
    schema = {"type": "struct", "fields": [{"name": "text", "type": "string", "nullable": True, "metadata": {}}]}
    added = {"path": path, "partitionValues": {}, "size": 400, "modificationTime": 1, "dataChange": True}
    data = {"id": "1", "format": {"provider": "parquet", "options": {}}, "schemaString": json.dumps(schema)}
    meta = {**data, "partitionColumns": [], "configuration": settings, "createdTime": 1}
    protocol: dict[str, Any] = {"minReaderVersion": 1, "minWriterVersion": 2}
    if features:
        both = list(features)
        protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": both, "writerFeatures": both}
    commit(folder, 0, {"protocol": protocol}, {"metaData": meta}, {"add": added})
    return str(folder)


@pytest.mark.parametrize(
    ("path", "features", "settings", "message"),
    [
        pytest.param(
            "../secret.parquet", [], {}, "a file outside its folder|can't be read as a Delta table", id="step-up"
        ),
        pytest.param("/etc/passwd", [], {}, "a file outside its folder|can't be read as a Delta table", id="absolute"),
        pytest.param(
            "s3://other/a.parquet", [], {}, "a file outside its folder|can't be read as a Delta table", id="clone"
        ),
        pytest.param(
            "a.parquet",
            ["columnMapping"],
            {"delta.columnMapping.mode": "name", "delta.columnMapping.maxColumnId": "1"},
            "column mapping|can't be read as a Delta table",
            id="column-mapping",
        ),
        pytest.param("a.parquet", ["fromTheFuture"], {}, "fromTheFuture", id="unknown-feature"),
    ],
)
def test_table_that_plain_parquet_would_show_wrong_is_refused(
    tmp_path: Path, path: str, features: list[str], settings: dict[str, str], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        opened(by_hand(tmp_path / "t", path, features, **settings))


def test_missing_file_of_a_version_is_an_error(table: str) -> None:
    for part in Path(table).glob("day=2024-01-31/*.parquet"):
        part.unlink()

    with pytest.raises(DatasetError, match="doesn't exist"):
        opened(f"delta+file://{table}?version=0")


def test_missing_package_is_named_with_its_extra_and_the_folder_is_not_read_as_parquet(
    table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "deltalake", None)

    with pytest.raises(DatasetError, match=r"a Delta table, needs .*pip install 'promptmill\[delta\]'"):
        opened(table)


def test_deployed_run_reads_a_local_table_only_where_it_is_listed(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowed_urls, "_rules", OPEN)  # to which it is set back
    monkeypatch.setenv(URLS_SETTING, str(tmp_path / "other"))
    close_to_unlisted()
    for url in (table, f"delta+file://{table}"):
        with pytest.raises(JobError, match="is a local path that isn't listed"):
            opened(url)
    monkeypatch.setenv(URLS_SETTING, table)
    close_to_unlisted()

    assert len(values(opened(f"delta+file://{table}"))) == 4


def test_table_on_s3_is_read(s3_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"AWS_ALLOW_HTTP": "true"}
    write_deltalake(f"{s3_folder}/t", rows(["a", "b c"]), partition_by=["day"], storage_options=options)
    DeltaTable(f"{s3_folder}/t", storage_options=options).delete("text = 'a'")

    assert values(opened(f"{s3_folder}/t")) == values(opened(f"delta+{s3_folder}/t")) == ["b c"]
    with pytest.raises(DatasetError, match="leads to the Delta table"):
        opened(f"{s3_folder}/t/*/*.parquet")
