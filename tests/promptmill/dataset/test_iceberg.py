"""Iceberg tables as inputs, written by the library pyiceberg: one snapshot's rows, and never a row that was deleted."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg import catalog as catalogs
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table
from pyiceberg.types import DoubleType, StringType
from pyiceberg.utils.config import Config

from promptmill import allowed_urls
from promptmill.allowed_urls import OPEN, URLS_SETTING, close_to_unlisted
from promptmill.dataset.dataset import Dataset, Listed, list_input, open_dataset
from promptmill.dataset.table_version import TableFile, TableVersion, shaped_by_ids
from promptmill.errors import DatasetError, JobError
from promptmill.job.spec import Input
from promptmill.output.reading import read
from promptmill.provider.transport import Credentials
from promptmill.runs.run import FinishedRun
from tests.support.jobs import MakeJob, carry_out, plan_any

COLUMNS = pa.schema([("text", pa.string()), ("n", pa.int32())])


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqlCatalog]:
    """A catalog that pyiceberg's own settings call `mine`."""
    settings = {"uri": f"sqlite:///{tmp_path}/catalog.db", "warehouse": f"file://{tmp_path}/lake"}
    for name, value in {**settings, "type": "sql"}.items():
        monkeypatch.setenv(f"PYICEBERG_CATALOG__MINE__{name.upper()}", value)
    monkeypatch.setattr(catalogs, "_ENV_CONFIG", Config())  # read once, when the module is imported
    catalog = SqlCatalog("mine", **settings)
    catalog.create_namespace("shop")
    yield catalog
    catalog.close()


@pytest.fixture
def table(catalog: SqlCatalog) -> Table:
    """A table of which a row was deleted, after two commits."""
    table = catalog.create_table("shop.reviews", schema=COLUMNS)
    table.append(pa.table({"text": ["a", "b"], "n": [1, 2]}, schema=COLUMNS))
    table.append(pa.table({"text": ["c"], "n": [3]}, schema=COLUMNS))
    table.delete("text == 'a'")
    return table


def opened(url: str) -> Dataset:
    return open_dataset(Input.model_validate({"url": url}))


def values(found: Dataset, column: str = "text") -> list[Any]:
    return [value for chunk in found.read(2) for value in chunk[column].to_pylist()]


def at(table: Table, query: str = "") -> str:
    """The URL of the table's newest metadata file."""
    return f"iceberg+{table.metadata_location}{query}"


def snapshots(table: Table) -> list[str]:
    return [str(snapshot.snapshot_id) for snapshot in table.snapshots()]


def test_current_snapshot_or_the_one_that_the_url_names_is_read(table: Table) -> None:
    first, second, *_, last = snapshots(table)

    assert sorted(values(opened(at(table)))) == ["b", "c"]
    assert list(opened("iceberg://mine/shop.reviews").versions.values()) == [last]
    assert values(opened(at(table, f"?snapshot={second}"))) == ["a", "b", "c"]
    assert values(opened(f"iceberg://mine/shop.reviews?snapshot={first}"), "n") == [1, 2]
    urls = [at(table), at(table, f"?snapshot={second}"), "iceberg://mine/shop.reviews"]
    assert len({list_input(Input(url=url)).fingerprint for url in urls[:2]}) == 2


def test_rows_keep_their_order_and_new_ones_come_last(table: Table) -> None:
    before = values(opened(at(table)))
    table.append(pa.table({"text": ["d"], "n": [4]}, schema=COLUMNS))
    pinned = list_input(
        Input(url="iceberg://mine/shop.reviews"), pinned={"iceberg://mine/shop.reviews": snapshots(table)[-2]}
    )

    assert values(opened("iceberg://mine/shop.reviews")) == [*before, "d"]
    assert isinstance(pinned, Listed)
    assert values(pinned.open()) == before


def test_column_that_came_later_is_null_and_one_that_went_is_gone(table: Table) -> None:
    with table.update_schema() as update:
        update.delete_column("n")
        update.add_column("score", DoubleType())
    table.append(pa.table({"text": ["d"], "score": [0.5]}))
    found = opened(at(table))

    assert found.schema.names == ["text", "score"]
    assert dict(zip(values(found), values(found, "score"), strict=True)) == {"b": None, "c": None, "d": 0.5}


def test_renamed_column_and_a_name_with_another_meaning_are_refused(table: Table) -> None:
    with table.update_schema() as update:
        update.rename_column("n", "number")
    table.append(pa.table({"text": ["d"], "number": pa.array([4], pa.int32())}))
    with pytest.raises(DatasetError, match="has a column 'n' that its table calls 'number'"):
        opened(at(table))
    with table.update_schema(allow_incompatible_changes=True) as update:
        update.delete_column("number")
    with table.update_schema() as update:
        update.add_column("n", StringType())
    table.append(pa.table({"text": ["e"], "n": ["x"]}))
    with pytest.raises(DatasetError, match="has a column 'n' that is none of the table's"):
        opened(at(table))


def field(name: str, kind: pa.DataType, number: int) -> pa.Field:
    return pa.field(name, kind, metadata={"PARQUET:field_id": str(number)})


INNER = pa.struct([field("first", pa.string(), 3)])


@pytest.mark.parametrize(
    ("columns", "ids", "message"),
    [
        pytest.param([field("p", INNER, 1)], {1: "p", 3: "first"}, None, id="fits"),
        pytest.param([pa.field("p", pa.int8())], {1: "p"}, None, id="without-ids"),
        pytest.param(
            [field("p", INNER, 1)], {1: "p", 3: "given"}, "'first' that its table calls 'given'", id="renamed-inside"
        ),
        pytest.param([field("p", INNER, 1)], {1: "p"}, "'first' that its table has no more", id="gone-inside"),
        pytest.param(
            [field("p", pa.list_(INNER), 1)], {1: "p", 3: "x"}, "'first' that its table calls 'x'", id="in-a-list"
        ),
        pytest.param([field("q", pa.int8(), 1)], {1: "q"}, "lacks the column 'p'", id="lacking"),
    ],
)
def test_names_in_files_are_those_of_the_table(
    columns: list[pa.Field], ids: dict[int, str], message: str | None
) -> None:
    table = TableVersion("1", (TableFile("a", 1, ""),), pa.schema([("p", INNER)]), ids, ("p",))
    if message is None:
        assert shaped_by_ids(pa.schema(columns), table, "a.parquet").names == ["p"]
    else:
        with pytest.raises(DatasetError, match=message):
            shaped_by_ids(pa.schema(columns), table, "a.parquet")


REFUSED = {
    "{folder}": "newest version only its catalog knows",
    "{folder}/data": "leads to the Iceberg table",
    "{folder}/data/*.parquet": "leads to the Iceberg table",
    "{folder}/..": "leads to the Iceberg table",
    "iceberg+file://{folder}/metadata/none.metadata.json": "can't be read as an Iceberg table",
    "iceberg://mine/shop.none": "can't be looked up in the catalog 'mine'",
    "iceberg://other/shop.reviews": "can't be looked up in the catalog 'other'",
    "iceberg://mine/shop.reviews?snapshot=5": "has no snapshot 5",
    "iceberg://mine/shop.reviews?snapshot=x": "has no snapshot x",
    "iceberg://mine/shop.reviews?version=5": "Write .snapshot=12",
}


def test_what_is_no_snapshot_is_refused(table: Table) -> None:
    """One test for all, since a table takes half a second to make."""
    for url, message in REFUSED.items():
        with pytest.raises(DatasetError, match=message):
            opened(url.format(folder=table.location().removeprefix("file://")))


def test_table_without_rows_is_refused(catalog: SqlCatalog) -> None:
    with pytest.raises(DatasetError, match="has 0 rows"):
        opened(at(catalog.create_table("shop.empty", schema=COLUMNS)))


def test_folder_with_a_version_hint_is_a_table(table: Table) -> None:
    folder = Path(table.location().removeprefix("file://"))
    newest = Path(table.metadata_location.removeprefix("file://"))
    newest.rename(folder / "metadata/v7.metadata.json")
    (folder / "metadata/version-hint.text").write_text("7")

    assert sorted(values(opened(str(folder)))) == sorted(values(opened(f"iceberg+file://{folder}"))) == ["b", "c"]


def test_default_of_a_later_column_is_refused(table: Table) -> None:
    path = Path(table.metadata_location.removeprefix("file://"))
    metadata = json.loads(path.read_text())
    metadata["format-version"], metadata["next-row-id"] = 3, 0
    for schema in metadata["schemas"]:
        schema["fields"].append({"id": 9, "name": "d", "type": "int", "required": False, "initial-default": 5})
    path.write_text(json.dumps(metadata))

    with pytest.raises(DatasetError, match="a default for its column 'd'|can't be read as an Iceberg table"):
        opened(at(table))


def test_deployed_run_reads_no_file_that_is_not_listed(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The metadata is an input: it may name any place."""
    elsewhere = tmp_path / "mine.metadata.json"
    elsewhere.write_bytes(Path(table.metadata_location.removeprefix("file://")).read_bytes())
    monkeypatch.setattr(allowed_urls, "_rules", OPEN)  # to which it is set back
    monkeypatch.setenv(URLS_SETTING, str(elsewhere))
    close_to_unlisted()
    for url in (f"iceberg+file://{elsewhere}", at(table), "iceberg://mine/shop.reviews"):
        with pytest.raises(JobError, match="isn't listed"):
            opened(url)
    monkeypatch.setenv(URLS_SETTING, f"{elsewhere},{tmp_path}/lake,iceberg://mine")
    close_to_unlisted()

    assert len(values(opened(f"iceberg+file://{elsewhere}"))) == len(values(opened("iceberg://mine/shop.reviews"))) == 2


def test_missing_package_is_named_with_its_extra(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    url = at(table)
    for name in [name for name in sys.modules if name.startswith("pyiceberg")] + ["promptmill.dataset.iceberg_files"]:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "pyiceberg", None)
    for address in (url, "iceberg://mine/shop.reviews"):
        with pytest.raises(DatasetError, match=r"an Iceberg table, needs .*pip install 'promptmill\[iceberg\]'"):
            opened(address)


async def test_run_over_a_table_records_the_snapshot(
    make_job: MakeJob, credentials: Credentials, table: Table, tmp_path: Path
) -> None:
    job = make_job(1, input__url="iceberg://mine/shop.reviews")
    manifest = await carry_out(job, credentials)

    assert manifest.input_versions == {"iceberg://mine/shop.reviews": snapshots(table)[-1]}
    assert sorted(read(str(tmp_path / "out"))["text"]) == ["b", "c"]
    part = pq.read_schema(tmp_path / "out" / manifest.parts[0].path)
    assert part.field("n").type == pa.int32()
    assert isinstance(plan_any(job, credentials), FinishedRun)


def test_table_on_s3_is_read_by_its_catalog_and_by_its_metadata_file(
    s3_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = {
        "uri": f"sqlite:///{tmp_path}/catalog.db",
        "warehouse": f"{s3_folder}/lake",
        "py-io-impl": "pyiceberg.io.fsspec.FsspecFileIO",
        "s3.endpoint": os.environ["AWS_ENDPOINT_URL"],
        "s3.access-key-id": os.environ["AWS_ACCESS_KEY_ID"],
        "s3.secret-access-key": os.environ["AWS_SECRET_ACCESS_KEY"],
        "type": "sql",
    }
    for name, value in settings.items():
        key = name.upper().replace("-", "_").replace(".", "__")
        monkeypatch.setenv(f"PYICEBERG_CATALOG__MINE__{key}", value)
    monkeypatch.setattr(catalogs, "_ENV_CONFIG", Config())
    catalog = SqlCatalog("mine", **settings)
    catalog.create_namespace("shop")
    table = catalog.create_table("shop.reviews", schema=COLUMNS)
    table.append(pa.table({"text": ["a", "b c"], "n": [1, 2]}, schema=COLUMNS))
    table.append(pa.table({"text": ["d"], "n": [3]}, schema=COLUMNS))
    catalog.close()

    assert at(table).startswith("iceberg+s3://")
    assert (
        sorted(values(opened(at(table)))) == sorted(values(opened("iceberg://mine/shop.reviews"))) == ["a", "b c", "d"]
    )
    assert values(opened(at(table, f"?snapshot={snapshots(table)[0]}"))) == ["a", "b c"]
