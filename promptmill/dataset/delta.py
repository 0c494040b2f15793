"""Delta tables: which files a version has, by the library `deltalake` (delta-rs).

A log may say what plain Parquet doesn't show: rows that are deleted inside a file (deletion vectors), columns that have
other names in the files (column mapping). Such a version is refused, and never read wrong. The protocol's features:
https://github.com/delta-io/delta/blob/master/PROTOCOL.md, from memory, 2026-11-27.
"""

import os
from typing import Any, cast
from urllib.parse import unquote

import pyarrow as pa

from promptmill.column_types import ARROW_ERRORS
from promptmill.dataset.table_version import Partitions, TableFile, TableVersion
from promptmill.errors import DatasetError
from promptmill.extras import missing_extra
from promptmill.public_url import public_text

_HARMLESS_FEATURES = frozenset(
    {"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck", "columnMapping", "deletionVectors"}
)  # the last two are looked at where they are in use
_STORES = ("s3://", "gs://", "az://", "abfs://", "abfss://")


def read_delta(url: str, root: str, version: str | None, shown: str) -> TableVersion:
    """A version of the table at a URL, by default the newest; `root` is its folder as the filesystem knows it.

    Raises: DatasetError.
    """
    try:
        import deltalake
        from deltalake.exceptions import DeltaError
    except ImportError as error:
        raise missing_extra(f"{shown}, a Delta table,", "delta", error) from error
    try:
        table = deltalake.DeltaTable(_address(url, root, shown), _number(version, shown), _storage_options())
        _refuse_hidden_changes(table, shown)
        schema = pa.schema(cast(Any, table.schema().to_arrow()))
        actions = pa.table(cast(Any, table.get_add_actions(flatten=False)))
        return TableVersion(str(table.version()), _files(actions, root, shown), schema)
    except (DeltaError, OSError, *ARROW_ERRORS) as error:
        at = "" if version is None else f" at version {version}"
        raise DatasetError(
            f"{shown} can't be read as a Delta table{at}: {public_text(str(error), url)} (input.url). Check the address and "
            "the version, that the log is complete, and AWS_* for s3://."
        ) from error


def _address(url: str, root: str, shown: str) -> str:
    """The URL as the library takes it."""
    if "://" not in url or url.startswith(("file://", "local://")):
        return root
    spelled = url.replace("s3a://", "s3://", 1)
    if not spelled.startswith(_STORES):
        raise DatasetError(
            f"{shown} is on a storage from which no Delta table is read; those are {', '.join(_STORES)} and local folders "
            "(input.url). Copy the table there."
        )
    return spelled


def _number(version: str | None, shown: str) -> int | None:
    if version is not None and not (version.isascii() and version.isdigit()):
        raise DatasetError(
            f"{shown} asks for version {version!r}; a version is a whole number (input.url). Write ?version=12."
        )
    return None if version is None else int(version)


def _storage_options() -> dict[str, str]:
    """What the library doesn't read from the environment by itself."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    options = {"AWS_ENDPOINT_URL": endpoint} if endpoint else {}
    return {**options, "AWS_ALLOW_HTTP": "true"} if endpoint.startswith("http://") else options


def _refuse_hidden_changes(table: Any, shown: str) -> None:
    protocol, settings = table.protocol(), table.metadata().configuration
    features = set(cast(list[str], protocol.reader_features or []))
    if settings.get("delta.columnMapping.mode", "none") != "none":
        raise _refusal(shown, "column mapping: its columns have other names in the files")
    if "deletionVectors" in features and any(
        batch.num_rows for batch in pa.RecordBatchReader.from_stream(table.deletion_vectors())
    ):
        raise _refusal(shown, "deletion vectors: rows that still stand in its files are deleted")
    if unknown := sorted(features - _HARMLESS_FEATURES):
        raise _refusal(shown, f"{', '.join(unknown)}, which we don't know")


def _refusal(shown: str, what: str) -> DatasetError:
    return DatasetError(
        f"{shown} is a Delta table with {what}; such a table isn't read (input.url). Write the rows to a table without it, or "
        "purge it by REORG TABLE … APPLY (PURGE)."
    )


def _files(actions: pa.Table, root: str, shown: str) -> tuple[TableFile, ...]:
    """The version's files, those that were added last at the end."""
    paths, sizes, times = (actions[name].to_pylist() for name in ("path", "size_bytes", "modification_time"))
    order = sorted(range(actions.num_rows), key=lambda number: (times[number], paths[number]))
    partitions = _partitions(actions)
    return tuple(
        TableFile(
            f"{root.rstrip('/')}/{_inside(unquote(paths[number]), shown)}",
            int(sizes[number]),
            str(times[number]),
            partitions[number],
        )
        for number in order
    )


def _inside(path: str, shown: str) -> str:
    """The path itself, if it lies in the table's folder: a log is an input, and may name any place."""
    if "://" in path or path.startswith("/") or ".." in path.split("/"):
        raise DatasetError(
            f"{shown} has a file outside its folder, {path!r}, as a shallow clone has; we read only files inside (input.url). "
            "Give the table that was cloned, or a deep clone."
        )
    return path


def _partitions(actions: pa.Table) -> list[Partitions]:
    """For each file the values of the columns that it doesn't have, as texts."""
    if "partition" not in actions.column_names:
        return [()] * actions.num_rows
    found: Any = actions["partition"].combine_chunks()
    names: list[str] = [field.name for field in found.type]
    columns = [found.field(place).cast(pa.string()).to_pylist() for place in range(len(names))]
    return [tuple(zip(names, values, strict=True)) for values in zip(*columns, strict=True)] or [()] * actions.num_rows
