"""Databases as inputs: a real PostgreSQL of Debian's and a DuckDB file; rows in the order of a key, with their types."""

import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import orjson
import psycopg
import pyarrow as pa
import pytest

from benchmarks.postgres import find_postgres, postgres
from promptmill import allowed_urls
from promptmill.allowed_urls import OPEN, URLS_SETTING, close_to_unlisted
from promptmill.dataset.dataset import Dataset, fingerprint_of, list_input, open_dataset
from promptmill.errors import DatasetError, JobError
from promptmill.job.spec import Input
from promptmill.output.manifest import public_job
from promptmill.output.reading import read
from promptmill.provider.transport import Credentials
from promptmill.runs.run import FinishedRun
from tests.support.jobs import MakeJob, carry_out, plan, plan_any

SECRET = "s3cr3tpassword"
MADE = """
    CREATE TABLE reviews (id bigint PRIMARY KEY, text varchar, day date);
    INSERT INTO reviews SELECT 2500 - n, 'text ' || n, DATE '2024-01-31' FROM generate_series(1, 2500) AS numbers(n);
    CREATE TABLE loose (text varchar, n integer);
    INSERT INTO loose VALUES ('b', 2), (NULL, 1), ('', 3);
    CREATE TABLE nothing (id bigint PRIMARY KEY);
"""


@pytest.fixture(scope="module")
def database_server() -> Iterator[str]:
    """The URL of a database on a PostgreSQL server with tables in it."""
    if find_postgres() is None:
        reason = "PostgreSQL isn't installed. Install it: apt-get install postgresql"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    with postgres() as url:
        url = url.replace("+asyncpg", "")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(MADE)
        yield url


@pytest.fixture(scope="module")
def duckdb_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a DuckDB file with the same tables."""
    path = tmp_path_factory.mktemp("duck") / "a b.db"
    with duckdb.connect(str(path)) as connection:
        connection.execute(MADE)
    return f"duckdb://{path}"


@pytest.fixture(params=["postgres", "duckdb"])
def database(request: pytest.FixtureRequest) -> str:
    """The URL of each database."""
    return request.getfixturevalue("database_server" if request.param == "postgres" else "duckdb_file")


def opened(url: str, **options: Any) -> Dataset:
    return open_dataset(Input.model_validate({"url": url, **options}))


def rows_of(found: Dataset) -> list[dict[str, Any]]:
    return [row for table in found.read(700) for row in table.to_pylist()]


def execute(url: str, statement: str) -> None:
    if url.startswith("duckdb"):
        with duckdb.connect(url.removeprefix("duckdb://")) as connection:
            connection.execute(statement)
    else:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement.encode())


def test_table_is_read_in_the_order_of_its_key_from_any_row_on(database: str) -> None:
    found = opened(f"{database}?table=reviews", id_column="id")

    assert [row["id"] for row in rows_of(found)] == list(range(2500))
    assert [
        row for table in found.read(10, ["text"], start=1_995, stop=2_002) for row in table["text"].to_pylist()
    ] == [f"text {number}" for number in range(505, 498, -1)]
    assert found.schema == pa.schema([("id", pa.int64()), ("text", pa.string()), ("day", pa.date32())])
    assert any("in the order of" in note for note in found.notes)


def test_query_is_read_in_the_order_of_the_id_column(database: str) -> None:
    query = "SELECT n, text, 1.50 AS price FROM loose -- all of them;"
    found = opened(database, query=query.replace(";", ""), id_column="n")

    assert [(row["n"], row["text"]) for row in rows_of(found)] == [(1, None), (2, "b"), (3, "")]
    assert {str(row["price"]) for row in rows_of(found)} == {"1.50"}
    assert len(rows_of(opened(database, query="SELECT * FROM loose;", id_column="n", limit=2))) == 2


def test_fingerprint_is_that_of_the_rows(database: str) -> None:
    execute(
        database, "CREATE TABLE changing (id bigint PRIMARY KEY, text varchar); INSERT INTO changing VALUES (1, 'a')"
    )
    spec = Input.model_validate({"url": f"{database}?table=changing", "id_column": "id"})
    seen = [fingerprint_of(spec) for _ in range(2)]
    for statement in ("UPDATE changing SET text = 'b'", "INSERT INTO changing VALUES (2, 'c')"):
        execute(database, statement)
        seen.append(fingerprint_of(spec))
    execute(database, "UPDATE changing SET text = 'a'; DELETE FROM changing WHERE id = 2")
    seen.append(fingerprint_of(spec))
    execute(database, "DROP TABLE changing")

    assert seen[0] == seen[1] == seen[4]
    assert len(set(seen)) == 3


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        pytest.param("?table=none", {"id_column": "id"}, "can't be read", id="no-table"),
        pytest.param("?table=nothing", {"id_column": "id"}, "has 0 rows", id="no-rows"),
        pytest.param("?table=reviews", {"id_column": "idd"}, "has no column 'idd'", id="no-key-of-that-name"),
        pytest.param("", {"query": "SELECT * FROM loose"}, "no input.id_column", id="query-without-key"),
        pytest.param(
            "", {"query": "SELECT 1 AS n) x; DROP TABLE loose; --", "id_column": "n"}, "can't be read", id="break-out"
        ),
        pytest.param("", {"query": "SELECT 1 AS n; DROP TABLE loose", "id_column": "n"}, "statement|command", id="two"),
        pytest.param(
            "", {"query": "SELECT 1 AS n) TO PROGRAM 'id' --", "id_column": "n"}, "can't be read", id="program"
        ),
        pytest.param("", {"query": "DELETE FROM loose RETURNING n", "id_column": "n"}, "can't be read", id="no-select"),
        pytest.param("", {}, "names no table, and there is no input.query", id="neither"),
        pytest.param("?table=a", {"query": "SELECT 1"}, "names a table, and there is an input.query", id="both"),
        pytest.param("?table=a&host=evil", {}, "has host in its query", id="other-host"),
        pytest.param("?table=a", {"types": {"a": "string"}}, "input.types is set", id="types"),
        pytest.param("?table=a", {"format": "csv"}, "asks for csv", id="format"),
    ],
)
def test_what_gives_no_rows_in_an_order_is_refused(
    database: str, table: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        opened(f"{database}{table}", **options)
    assert len(rows_of(opened(database, query="SELECT * FROM loose", id_column="n"))) == 3


def test_postgres_table_without_a_key_is_refused_and_one_with_a_primary_key_needs_no_id_column(
    database_server: str,
) -> None:
    with pytest.raises(DatasetError, match="has no primary key, and there is no input.id_column"):
        opened(f"{database_server}?table=loose")

    assert [row["id"] for row in rows_of(opened(f"{database_server}?table=public.reviews", limit=3))] == [0, 1, 2]


def test_duckdb_table_without_a_key_is_read_in_the_order_of_its_rows(duckdb_file: str) -> None:
    assert [row["n"] for row in rows_of(opened(f"{duckdb_file}?table=loose"))] == [2, 1, 3]


VALUES = """
    SELECT 1 AS k, true AS flag, 2::smallint AS small, 0.1::float8 AS double, 'NaN'::float8 AS nan, '-Infinity'::float8 AS inf,
        1.10::numeric(10, 2) AS price, 12345678901234567890123456789012345678901234567890::numeric AS huge,
        '2024-01-31 10:00:00.123456'::timestamp AS at, '2024-01-31 10:00:00+02'::timestamptz AS zoned,
        E'tab\\t line\\n back\\\\ ü' AS text, '{"a": 1.10}'::json AS json, ARRAY[1, NULL] AS list,
        '6f0e3a3e-0000-4000-8000-000000000000'::uuid AS uuid, NULL::int AS nothing, '1 day'::interval AS span,
        '\\xff00'::bytea AS bytes
"""


def test_postgres_values_come_as_they_are(database_server: str) -> None:
    (row,) = rows_of(opened(database_server, query=VALUES, id_column="k"))

    assert (row["flag"], row["small"], row["double"], str(row["nan"]), row["inf"]) == (
        True,
        2,
        0.1,
        "nan",
        float("-inf"),
    )
    assert (row["price"], row["huge"]) == (Decimal("1.10"), "12345678901234567890123456789012345678901234567890")
    assert row["at"] == datetime(2024, 1, 31, 10, 0, 0, 123456)
    assert row["zoned"] == datetime(2024, 1, 31, 8, tzinfo=UTC)
    assert (row["text"], row["json"], row["list"]) == ("tab\t line\n back\\ ü", '{"a": 1.10}', "{1,NULL}")
    assert row["bytes"] == b"\xff\x00"
    assert (row["uuid"], row["nothing"], row["span"]) == ("6f0e3a3e-0000-4000-8000-000000000000", None, "1 day")


@pytest.mark.parametrize(
    "value", ["'infinity'::date", "'0044-03-15 BC'::date", "'infinity'::timestamp", "'NaN'::numeric(5, 2)"]
)
def test_postgres_value_that_its_type_cannot_hold_is_refused_with_its_column(database_server: str, value: str) -> None:
    with pytest.raises(DatasetError, match="a value in the column 'v' that .* can't hold.*::text"):
        opened(database_server, query=f"SELECT 1 AS k, {value} AS v", id_column="k")

    assert len(rows_of(opened(database_server, query=f"SELECT 1 AS k, ({value})::text AS v", id_column="k"))) == 1


def test_postgres_query_names_each_column_once(database_server: str) -> None:
    with pytest.raises(DatasetError, match="more than one column 'n'"):
        opened(database_server, query="SELECT 1 AS k, 2 AS n, 3 AS n", id_column="k")


def test_postgres_query_may_only_read(database_server: str) -> None:
    execute(database_server, "CREATE FUNCTION sneaky() RETURNS int LANGUAGE sql AS 'DELETE FROM loose; SELECT 1'")
    with pytest.raises(DatasetError, match="read-only transaction"):
        opened(database_server, query="SELECT sneaky() AS k", id_column="k")
    execute(database_server, "DROP FUNCTION sneaky()")


def test_duckdb_values_come_with_their_types(duckdb_file: str) -> None:
    query = (
        "SELECT 1 AS k, {'a': [1]} AS nested, 'x'::ENUM('x', 'y') AS kind, 5::HUGEINT AS huge, DATE '2024-01-31' AS day"
    )
    found = opened(duckdb_file, query=query, id_column="k")

    (row,) = rows_of(found)
    assert (row["nested"], row["kind"], int(row["huge"]), row["day"]) == ({"a": [1]}, "x", 5, date(2024, 1, 31))


@pytest.mark.parametrize(
    "url", ["duckdb:///nowhere.db?table=a", "duckdb://a.db?table=a", "duckdb:///tmp?table=a", "duckdb://[x?table=a"]
)
def test_what_is_no_duckdb_file_is_refused(url: str) -> None:
    with pytest.raises(DatasetError, match="names no file; a DuckDB database is a file of this machine"):
        opened(url)


@pytest.mark.parametrize(
    "url", ["postgresql://[::1/db?table=a", "postgresql://h:x/db?table=a", "postgres://127.0.0.1:1/db?table=a"]
)
def test_address_of_no_server_is_refused(url: str) -> None:
    with pytest.raises(DatasetError, match="can't be read"):
        opened(url)


def test_file_of_another_kind_is_no_duckdb_file(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("a,b\n1,2\n" * 1_000)
    with pytest.raises(DatasetError, match="can't be read"):
        opened(f"duckdb://{tmp_path}/a.db?table=a")


def test_query_of_a_file_and_a_list_with_a_database_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    with pytest.raises(DatasetError, match="is no database; a query is for"):
        opened(f"{tmp_path}/a.csv", query="SELECT 1")
    with pytest.raises(DatasetError, match="lists 2 URLs, a database among them"):
        opened([f"{tmp_path}/a.csv", "duckdb:///x.db?table=a"])  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("url", "package", "extra"),
    [
        pytest.param("postgresql://h/db?table=a", "psycopg", "sql", id="postgres"),
        pytest.param("duckdb://{file}?table=a", "duckdb", "duckdb", id="duckdb"),
    ],
)
def test_missing_package_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, package: str, extra: str
) -> None:
    (tmp_path / "a.db").touch()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DatasetError, match=rf"pip install 'promptmill\[{extra}\]'"):
        opened(url.format(file=tmp_path / "a.db"))


def test_password_reaches_no_message_and_no_manifest(make_job: MakeJob) -> None:
    url = f"postgresql://someone:{SECRET}@127.0.0.1:1/shop?table=reviews"
    with pytest.raises(DatasetError) as caught:
        opened(url)

    assert SECRET not in str(caught.value)
    assert public_job(make_job(1, input__url=url))["input"]["url"] == "postgresql://127.0.0.1:1/shop?table=reviews"
    assert SECRET.encode() not in orjson.dumps(public_job(make_job(1, input__url=url)))


@pytest.fixture
def close(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes this process one of a deployed run, with this list of URLs; it is opened again at the end."""
    monkeypatch.setattr(allowed_urls, "_rules", OPEN)

    def close(listed: str) -> None:
        monkeypatch.setenv(URLS_SETTING, listed)
        close_to_unlisted()

    return close


@pytest.mark.parametrize(
    ("listed", "url", "is_allowed"),
    [
        pytest.param("", "postgresql://db/shop?table=a", False, id="none"),
        pytest.param("postgresql://db/shop", "postgresql://u:p@DB/shop?table=a", True, id="listed"),
        pytest.param("postgresql://db/shop", "postgres://db/shop?table=a", True, id="other-spelling"),
        pytest.param("postgresql://db/shop", "postgresql://db/shop2?table=a", False, id="other-database"),
        pytest.param("postgresql://db/shop", "postgresql://db,evil/shop?table=a", False, id="two-hosts"),
        pytest.param("postgresql://db", "postgresql://x@evil/db?table=a", False, id="other-host"),
        pytest.param("/srv/data", "duckdb:///srv/data/a.db?table=a", True, id="file-listed"),
        pytest.param("/srv/data", "duckdb:///srv/data/../a.db?table=a", False, id="step-up"),
    ],
)
def test_deployed_run_reads_a_database_only_where_it_is_listed(
    close: Callable[[str], None], listed: str, url: str, is_allowed: bool
) -> None:
    close(listed)
    if is_allowed:
        allowed_urls.require_allowed(url, "input.url")
    else:
        with pytest.raises(JobError, match="isn't listed"):
            list_input(Input(url=url))


def test_deployed_query_reaches_no_other_file(close: Callable[[str], None], duckdb_file: str, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("k\n1\n")
    query = f"SELECT * FROM read_csv('{tmp_path}/secret.csv')"
    assert len(rows_of(opened(duckdb_file, query=query, id_column="k"))) == 1
    close(str(Path(duckdb_file.removeprefix("duckdb://")).parent))

    with pytest.raises(DatasetError, match="disabled"):
        opened(duckdb_file, query=query, id_column="k")
    assert len(rows_of(opened(duckdb_file, query="SELECT * FROM loose", id_column="n"))) == 3


async def test_run_over_a_database_publishes_the_rows_that_it_read(
    make_job: MakeJob, credentials: Credentials, database: str, tmp_path: Path
) -> None:
    execute(
        database,
        "CREATE TABLE small (id bigint PRIMARY KEY, text varchar); INSERT INTO small VALUES (2, 'b'), (1, 'a')",
    )
    job = make_job(1, input__url=f"{database}?table=small", input__id_column="id", chunk_rows=1)
    pending = plan(job, credentials)
    execute(database, "UPDATE small SET text = 'changed'")
    assert [row["text"] for row in rows_of(pending.prepared.dataset)] == ["a", "b"]
    execute(database, "UPDATE small SET text = 'a' WHERE id = 1")
    manifest = await carry_out(job, credentials)

    assert read(str(tmp_path / "out"))["text"].to_list() == ["a", "changed"]
    assert isinstance(plan_any(job, credentials), FinishedRun)
    execute(database, "INSERT INTO small VALUES (3, 'c')")
    later = await carry_out(job, credentials)
    execute(database, "DROP TABLE small")
    assert (manifest.requests_sent, later.requests_sent, later.rows) == (2, 1, 3)
