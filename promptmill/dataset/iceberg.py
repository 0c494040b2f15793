"""Iceberg tables: which files a snapshot has, by the library `pyiceberg`, which reads metadata through our own storage.

Iceberg names columns by ids, so a file may call a column otherwise than the table does, or lack it. What plain Parquet can't
show is refused, and never read wrong: rows that are deleted inside files, renamed columns, defaults of columns that came
later. The specification: https://iceberg.apache.org/spec/, from memory, 2026-11-27.
"""

from collections.abc import Iterator, Mapping
from typing import Any, cast

import fsspec
from fsspec.core import split_protocol

from promptmill.allowed_urls import require_allowed
from promptmill.column_types import ARROW_ERRORS
from promptmill.dataset.finding import Found
from promptmill.dataset.table_version import TableFile, TableVersion
from promptmill.errors import DatasetError
from promptmill.extras import missing_extra
from promptmill.public_url import public_text
from promptmill.storage import STORAGE_ERRORS

METADATA = ".metadata.json"
_HINT = "metadata/version-hint.text"  # of tables without a catalog


def read_iceberg(url: str, fs: fsspec.AbstractFileSystem, root: str, snapshot: str | None, shown: str) -> TableVersion:
    """A snapshot of a table, by default the current one; the URL leads to a metadata file or to the table's folder.

    Raises: DatasetError.
    """
    try:
        from pyiceberg import exceptions

        from promptmill.dataset.iceberg_files import load_table
    except ImportError as error:
        raise missing_extra(f"{shown}, an Iceberg table,", "iceberg", error) from error
    try:
        location = root if root.endswith(METADATA) else _hinted(fs, root, shown)
        table = load_table(str(fs.unstrip_protocol(location)))
        found = _snapshot(table, snapshot, shown)
        schema = table.schemas()[found.schema_id] if found.schema_id is not None else table.schema()
        _refuse_defaults(schema.fields, shown)
        files = sorted(
            _entries(table, found, shown), key=lambda entry: (entry.sequence_number or 0, entry.data_file.file_path)
        )
        return TableVersion(
            str(found.snapshot_id),
            tuple(_file(entry.data_file, fs, shown) for entry in files),
            schema.as_arrow(),
            _names(schema.as_struct()),
            _identities(table.spec(), schema),
        )
    except (exceptions.NotInstalledError, ImportError) as error:
        raise missing_extra(f"{shown}, an Iceberg table,", "iceberg", ImportError(str(error))) from error
    except (*STORAGE_ERRORS, *ARROW_ERRORS, KeyError, exceptions.NoSuchTableError) as error:
        raise DatasetError(
            f"{shown} can't be read as an Iceberg table: {type(error).__name__}: {public_text(str(error), url)} (input.url). "
            "Check the address, that its metadata is complete, and AWS_* for s3://."
        ) from error


def locate_in_catalog(catalog: str, name: str, shown: str) -> str:
    """The URL of a table's newest metadata file, by a catalog that pyiceberg's own settings name. Raises: DatasetError."""
    try:
        from pyiceberg.catalog import load_catalog
    except ImportError as error:
        raise missing_extra(f"{shown}, an Iceberg table,", "iceberg", error) from error
    try:
        return str(load_catalog(catalog).load_table(name).metadata_location)
    except Exception as error:
        raise DatasetError(
            f"{shown} can't be looked up in the catalog {catalog!r}: {type(error).__name__} (input.url). A catalog is set up "
            "in .pyiceberg.yaml or by PYICEBERG_CATALOG__* variables; check these, and the table's name."
        ) from error


def tables_in_listing(found: Found) -> Iterator[str]:
    """The folders of Iceberg tables that a listing shows."""
    for path in found.infos:
        if path.endswith(METADATA) and "/metadata/" in path:
            yield path.rpartition("/metadata/")[0]


def _hinted(fs: fsspec.AbstractFileSystem, root: str, shown: str) -> str:
    """The metadata file that the table's folder names as the newest."""
    try:
        hint = cast(bytes, fs.cat_file(f"{root.rstrip('/')}/{_HINT}")).decode().strip()
    except FileNotFoundError as error:
        raise DatasetError(
            f"{shown} is an Iceberg table whose newest version only its catalog knows (input.url). Give "
            f"iceberg://CATALOG/TABLE, or the {METADATA} file itself: iceberg+URL."
        ) from error
    name = f"v{hint}" if hint.isdigit() else hint.removesuffix(METADATA)
    return f"{root.rstrip('/')}/metadata/{name}{METADATA}"


def _snapshot(table: Any, asked: str | None, shown: str) -> Any:
    is_number = asked is None or asked.lstrip("-").isdigit()
    found = table.current_snapshot() if asked is None else table.snapshot_by_id(int(asked)) if is_number else None
    if found is None:
        raise DatasetError(
            f"{shown} has no snapshot {asked}; one that has not expired can be read (input.url). Leave it out for the newest."
            if asked is not None
            else f"{shown} has 0 rows: it has no snapshot; at least 1 row is needed (input.url). Give a table with rows."
        )
    return found


def _refuse_defaults(fields: Any, shown: str) -> None:
    for field in fields:
        if field.initial_default is not None:
            raise _refusal(shown, f"a default for its column {field.name!r} in rows that were written before it")


def _entries(table: Any, snapshot: Any, shown: str) -> Iterator[Any]:
    """The data files of a snapshot. Raises: DatasetError when rows of them are deleted, or they aren't Parquet."""
    for manifest in snapshot.manifests(table.io):
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
            if entry.data_file.content.name != "DATA":
                raise _refusal(shown, "deletes that were not merged: rows that still stand in its files are deleted")
            if entry.data_file.file_format.name != "PARQUET":
                raise _refusal(shown, f"files of {entry.data_file.file_format.name}")
            yield entry


def _refusal(shown: str, what: str) -> DatasetError:
    return DatasetError(
        f"{shown} is an Iceberg table with {what}; such a table isn't read (input.url). Rewrite its data files "
        "(rewrite_data_files), or write the rows to another table."
    )


def _file(file: Any, fs: fsspec.AbstractFileSystem, shown: str) -> TableFile:
    """A data file; metadata is an input, and may name any place."""
    require_allowed(file.file_path, "input.url")
    protocol = split_protocol(file.file_path)[0] or "file"
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    if protocol not in protocols:
        raise DatasetError(
            f"{shown} has files on another storage than its metadata ({protocol}://); we read both from one "
            "(input.url). Move them."
        )
    path = str(fs._strip_protocol(file.file_path))  # pyright: ignore[reportPrivateUsage]
    return TableFile(path, int(file.file_size_in_bytes), path.rsplit("/", 1)[-1])


def _names(struct: Any) -> Mapping[int, str]:
    """The ids of a struct's fields, and of those inside them, with their names."""
    found: dict[int, str] = {}
    for field in struct.fields:
        found[field.field_id] = field.name
        for inner in _structs(field.field_type):
            found |= _names(inner)
    return found


def _identities(spec: Any, schema: Any) -> tuple[str, ...]:
    """The columns by whose values the table is partitioned: after a migration, files may lack them."""
    return tuple(
        schema.find_column_name(field.source_id) for field in spec.fields if str(field.transform) == "identity"
    )


def _structs(kind: Any) -> Iterator[Any]:
    if kind.is_struct:
        yield kind
    for name in ("element_type", "key_type", "value_type"):
        if hasattr(kind, name):
            yield from _structs(getattr(kind, name))
