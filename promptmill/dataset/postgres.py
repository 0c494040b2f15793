"""Rows of PostgreSQL, by the library `psycopg`: one COPY in one snapshot, in the order of a key, as texts.

PostgreSQL writes each value so that it reads back the same, and so Arrow reads it: no value becomes a Python object on the
way. Types that Arrow has no equal for (numeric without a precision, json, uuid, arrays, intervals, …) stay these texts.
The query is a job's own. It is prepared alone before it is embedded, so that it can't be more than one statement, nor end
the COPY and begin another command; and it runs in a transaction that may only read.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, cast

import pyarrow as pa

from promptmill.allowed_urls import require_allowed
from promptmill.arrow import pc
from promptmill.column_types import ARROW_ERRORS
from promptmill.dataset.database_url import Asked, missing_key
from promptmill.dataset.held_rows import BATCH_ROWS, HeldRows
from promptmill.errors import DatasetError
from promptmill.extras import missing_extra
from promptmill.public_url import public_text

_TYPES: dict[int, pa.DataType] = {  # PostgreSQL's numbers of types (pg_type.dat)
    16: pa.bool_(),
    17: pa.binary(),
    20: pa.int64(),
    21: pa.int16(),
    23: pa.int32(),
    700: pa.float32(),
    701: pa.float64(),
    1082: pa.date32(),
    1114: pa.timestamp("us"),
    1184: pa.timestamp("us", "UTC"),
}
_NUMERIC = 1700
_CONNECT_SECONDS = 30
_MOST_DIGITS = 38  # of decimal128
_SETTINGS = (
    "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; SET LOCAL IntervalStyle = 'postgres'; "
    "SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1"
)
_KEY_OF = """
    SELECT attname FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
    WHERE indrelid = %s::regclass AND indisprimary ORDER BY array_position(indkey::int2[], attnum)
"""


def read_postgres(asked: Asked) -> HeldRows:
    """The rows that a job asks for, copied. Blocks. Raises: DatasetError; JobError when a deployed run may not read there."""
    require_allowed(asked.url, "input.url")
    try:
        import psycopg
    except ImportError as error:
        raise missing_extra(f"{asked.shown}, a PostgreSQL database,", "sql", error) from error
    try:
        options: dict[str, Any] = {} if "connect_timeout=" in asked.url else {"connect_timeout": _CONNECT_SECONDS}
        with psycopg.connect(asked.url, client_encoding="utf8", **options) as connection:
            connection.read_only = True
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            with connection.cursor() as cursor:
                cursor.execute(_SETTINGS)
                return _rows(connection, cursor, asked)
    except (psycopg.Error, OSError, UnicodeError) as error:
        raise DatasetError(
            f"{asked.shown} can't be read: {type(error).__name__}: {public_text(str(error).strip(), asked.url)} (input.url, "
            "input.query). Check the address, the table or the query, and PGPASSWORD or the password file."
        ) from error


def _rows(connection: Any, cursor: Any, asked: Asked) -> HeldRows:
    from psycopg import sql

    source, keys = _source(connection, cursor, asked)
    cursor.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(source))
    schema = pa.schema([(column.name, _type_of(column)) for column in cursor.description])
    if missing := [key for key in keys if key not in schema.names]:
        raise missing_key(asked, f"has no column {missing[0]!r}")
    by = sql.SQL(", ").join(sql.Identifier(key) for key in keys)
    limit = sql.SQL(cast(Any, "" if asked.limit is None else f" LIMIT {asked.limit:d}"))
    command = sql.SQL("COPY (SELECT * FROM {} ORDER BY {}{}) TO STDOUT").format(source, by, limit)
    with cursor.copy(command) as copy:
        return HeldRows(
            schema,
            _batches(copy.rows(), schema, asked),
            f"rows are read in the order of {', '.join(keys)}",
            asked.shown,
        )


def _source(connection: Any, cursor: Any, asked: Asked) -> tuple[Any, list[str]]:
    """What stands behind FROM, and the columns that order it."""
    from psycopg import sql

    if asked.query:
        if asked.key is None:
            raise missing_key(asked, "is read by input.query, and there is no input.id_column")
        _require_single(connection, asked.query)
        return sql.SQL("({}\n) AS rows").format(sql.SQL(cast(Any, asked.query))), [asked.key]
    table = sql.Identifier(*asked.table)
    keys = [asked.key] if asked.key is not None else _primary_key(cursor, table.as_string(connection))
    if not keys:
        raise missing_key(asked, "has no primary key, and there is no input.id_column")
    return table, keys


def _require_single(connection: Any, query: str) -> None:
    """Raises: psycopg.Error when the query isn't one complete statement by itself."""
    from psycopg import errors
    from psycopg.pq import ExecStatus

    found = connection.pgconn.prepare(b"promptmill", query.encode())
    if found.status != ExecStatus.COMMAND_OK:
        raise errors.SyntaxError(found.error_message.decode(errors="replace"))


def _primary_key(cursor: Any, table: str) -> list[str]:
    return [name for (name,) in cursor.execute(_KEY_OF, [table]).fetchall()]


def _type_of(column: Any) -> pa.DataType:
    if column.type_code == _NUMERIC and column.precision is not None and column.precision <= _MOST_DIGITS:
        scale = 0 if column.scale is None else column.scale
        return pa.decimal128(column.precision, scale) if 0 <= scale <= column.precision else pa.string()
    return _TYPES.get(column.type_code, pa.string())


def _batches(rows: Iterator[Sequence[str | None]], schema: pa.Schema, asked: Asked) -> Iterator[pa.RecordBatch]:
    while some := list(islice(rows, BATCH_ROWS)):
        columns = [_typed(texts, field, asked) for texts, field in zip(zip(*some, strict=True), schema, strict=True)]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _typed(texts: Sequence[str | None], field: pa.Field, asked: Asked) -> pa.Array:
    """Values as PostgreSQL writes them, with their type. Raises: DatasetError when Arrow's type can't hold one of them."""
    if pa.types.is_binary(field.type):
        return pa.array([None if text is None else bytes.fromhex(text[2:]) for text in texts], field.type)
    values = pa.array(texts, pa.string())
    try:
        return pc.equal(values, "t") if pa.types.is_boolean(field.type) else values.cast(field.type)
    except ARROW_ERRORS as error:
        raise DatasetError(
            f"{asked.shown} has a value in the column {field.name!r} that {field.type} can't hold: {error} (input.query). Cast "
            f'it to text in a query: "{field.name}"::text.'
        ) from error
