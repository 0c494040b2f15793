"""What a job asks of a database: where it is, and which rows in which order. Pure."""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode

from promptmill.errors import DatasetError
from promptmill.job.input_spec import Input
from promptmill.public_url import public_url

_DATABASES = re.compile(r"(postgresql|postgres|duckdb)://", re.IGNORECASE)
_CONNECTION = ("sslmode", "connect_timeout", "application_name")  # what a URL may say of the connection


@dataclass(frozen=True, slots=True)
class Asked:
    """Rows of a database. Either a table or a query is given."""

    url: str = field(repr=False)  # of the database, without `table`; it may hold a password
    table: tuple[str, ...]  # schema and name, or the name alone; empty where a query is given
    query: str  # a single SELECT; "" where a table is given
    key: str | None  # a column that is unique for each row
    limit: int | None
    shown: str  # for people


def _is_database(url: str) -> bool:
    """Whether a URL leads to a database."""
    return _DATABASES.match(url) is not None


def asked_rows(spec: Input) -> Asked | None:
    """What a job asks of a database; None if its input is none. Raises: DatasetError when that isn't clear."""
    if not any(map(_is_database, spec.urls)):
        _refuse_query(spec)
        return None
    first: str = next(iter(spec.urls))
    shown = public_url(first)
    if len(spec.urls) > 1:
        raise DatasetError(
            f"input.url lists {len(spec.urls)} URLs, a database among them; a database is an input of its own. Give "
            "its URL alone."
        )
    query = dict(parse_qsl(first.partition("#")[0].partition("?")[2], keep_blank_values=True))
    table = query.pop("table", None)
    if unknown := sorted(set(query) - {*_CONNECTION}):
        raise DatasetError(
            f"{shown} has {', '.join(unknown)} in its query; a database's URL takes table, {', '.join(_CONNECTION)}. Leave "
            "it out (input.url)."
        )
    if (table is None) == (spec.query is None):
        raise DatasetError(
            f"{shown} names {'no table' if table is None else 'a table'}, and there is {'no' if spec.query is None else 'an'} "
            "input.query; the rows are those of one of the two. Write ?table=reviews behind the URL, or set input.query."
        )
    _refuse_keys_of_files(spec)
    base = first.partition("#")[0].partition("?")[0]
    url = f"{base}?{urlencode(query)}" if query else base
    names = () if table is None else tuple(table.split("."))
    return Asked(url, names, "" if spec.query is None else _single(spec.query), spec.id_column, spec.limit, shown)


def missing_key(asked: Asked, why: str) -> DatasetError:
    """The error of rows that have no key."""
    return DatasetError(
        f"{asked.shown} {why}; the rows of a database have an order only by a column that is unique for each of them "
        "(input.id_column). Name such a column."
    )


def _single(query: str) -> str:
    return query.strip().rstrip(";").rstrip()


def _refuse_query(spec: Input) -> None:
    if spec.query is not None:
        raise DatasetError(
            f"input.query is set, and {public_url(spec.urls[0])} is no database; a query is for postgresql:// and duckdb:// "
            "(input.query). Leave it out."
        )


def _refuse_keys_of_files(spec: Input) -> None:
    for key in ("types", "csv"):
        if getattr(spec, key) is not None:
            raise DatasetError(
                f"input.{key} is set, and {public_url(spec.urls[0])} is a database, whose columns have types (input.{key}). "
                "Leave it out; input.query may cast columns."
            )
    if spec.format != "auto":
        raise DatasetError(
            f"input.format asks for {spec.format}, and {public_url(spec.urls[0])} is a database. Leave it out."
        )
