"""Which URLs mean a table of a lakehouse: those that say so (delta+s3://…), and folders that are one."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, cast

from promptmill.allowed_urls import require_allowed
from promptmill.dataset.finding import Found
from promptmill.dataset.iceberg import locate_in_catalog, tables_in_listing
from promptmill.errors import DatasetError
from promptmill.public_url import public_url

TableKind = Literal["delta", "iceberg"]
DELTA_LOG = "_delta_log"
_PREFIXED = re.compile(r"(delta|iceberg)\+([a-z0-9]+://[^?]*)(?:\?(.*))?", re.DOTALL)
_IN_CATALOG = re.compile(r"iceberg://([^/?]+)/([^/?]+)(?:\?(.*))?", re.DOTALL)
_VERSION = {"delta": re.compile(r"version=([^&]+)"), "iceberg": re.compile(r"snapshot=([^&]+)")}


@dataclass(frozen=True, slots=True)
class TableAddress:
    """Where a table is."""

    kind: TableKind
    url: str  # of its folder
    version: str | None = None  # that the URL names


def table_address(url: str) -> TableAddress | None:
    """The table that a URL names; None if it doesn't say that it is one.

    Raises: DatasetError for an unknown query, and where a catalog doesn't know the table; JobError.
    """
    in_catalog = _IN_CATALOG.fullmatch(url)
    if in_catalog is not None:
        require_allowed(url, "input.url")
        version = _version(url, "iceberg", in_catalog[3])
        return TableAddress("iceberg", locate_in_catalog(in_catalog[1], in_catalog[2], public_url(url)), version)
    found = _PREFIXED.fullmatch(url)
    if found is None:
        return None
    kind = cast(TableKind, found[1])
    return TableAddress(kind, found[2], _version(url, kind, found[3]))


def _version(url: str, kind: TableKind, query: str | None) -> str | None:
    found = None if query is None else _VERSION[kind].fullmatch(query)
    if query is not None and found is None:
        raise DatasetError(
            f"{public_url(url)} asks for {query!r}; a table is read at its newest version, or at the one that the URL names "
            f"(input.url). Write ?{'version=12' if kind == 'delta' else 'snapshot=12'}."
        )
    return None if found is None else found[1]


def tables_in(found: Found) -> dict[str, TableKind]:
    """The folders of tables that a listing shows, at any depth."""
    return dict(_tables(found))


def _tables(found: Found) -> Iterator[tuple[str, TableKind]]:
    start = found.root.rstrip("/")
    for folder in tables_in_listing(found):
        yield folder, "iceberg"
    for path in found.infos:
        folder, sign, _ = path.partition(f"/{DELTA_LOG}/")
        if sign and len(folder) >= len(start):
            yield folder, "delta"


def folder_around(root: str) -> str:
    """The folder that a partition such as day=2024-01-31 belongs to; the folder itself if it is none."""
    path = PurePosixPath(root.rstrip("/"))
    while "=" in path.name:
        path = path.parent
    return str(path) if "=" in PurePosixPath(root).name else root.rstrip("/")
