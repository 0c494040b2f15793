"""Rows of a DuckDB file, by the library `duckdb`: one query in the order of a key, or a table in the order of its rows.

A query may name other files and URLs, and load extensions. A deployed run's query has the worker's rights, so there it
reaches nothing but the database itself.
"""

import os
from typing import Any
from urllib.parse import unquote

from promptmill.allowed_urls import is_closed_process, require_allowed
from promptmill.dataset.database_url import Asked, missing_key
from promptmill.dataset.held_rows import BATCH_ROWS, HeldRows
from promptmill.errors import DatasetError
from promptmill.extras import missing_extra
from promptmill.public_url import public_text

_MEMORY = "1GB"  # that a query may take before it writes to the disk
_CLOSED = {"enable_external_access": "false", "lock_configuration": "true"}


def read_duckdb(asked: Asked) -> HeldRows:
    """The rows that a job asks for, copied. Blocks. Raises: DatasetError; JobError when a deployed run may not read there."""
    require_allowed(asked.url, "input.url")
    path = unquote(asked.url.partition("://")[2].partition("?")[0])
    if not path.startswith("/") or not os.path.isfile(path):
        raise DatasetError(
            f"{asked.shown} names no file; a DuckDB database is a file of this machine (input.url). Write its absolute path "
            "behind three slashes: duckdb:///srv/reviews.db?table=reviews."
        )
    try:
        import duckdb
    except ImportError as error:
        raise missing_extra(f"{asked.shown}, a DuckDB database,", "duckdb", error) from error
    settings: dict[str, Any] = {"memory_limit": _MEMORY, **(_CLOSED if is_closed_process() else {})}
    try:
        with duckdb.connect(path, read_only=True, config=settings) as connection:
            return _rows(connection, duckdb, asked)
    except (duckdb.Error, OSError) as error:
        raise DatasetError(
            f"{asked.shown} can't be read: {type(error).__name__}: {public_text(str(error).strip(), asked.url)} (input.url, "
            "input.query). Check the file, that no program writes to it, and the table or the query."
        ) from error


def _rows(connection: Any, library: Any, asked: Asked) -> HeldRows:
    if asked.query:
        if asked.key is None:
            raise missing_key(asked, "is read by input.query, and there is no input.id_column")
        if len(library.extract_statements(asked.query)) != 1:
            raise DatasetError(
                f"{asked.shown} is read by more than one statement (input.query). Write a single SELECT."
            )
        source = f"({asked.query}\n) AS rows"
    else:
        source = ".".join(map(_quoted, asked.table))
    rows = f"SELECT * FROM {source}"  # noqa: S608 - a query of the job's own, or a quoted name
    names = [column[0] for column in connection.execute(f"{rows} LIMIT 0").description]
    if asked.key is not None and asked.key not in names:
        raise missing_key(asked, f"has no column {asked.key!r}")
    by = "rowid" if asked.key is None else _quoted(asked.key)
    limit = "" if asked.limit is None else f" LIMIT {asked.limit:d}"
    reader = connection.sql(f"{rows} ORDER BY {by}{limit}").to_arrow_reader(BATCH_ROWS)
    return HeldRows(reader.schema, reader, f"rows are read in the order of {by}", asked.shown)


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
