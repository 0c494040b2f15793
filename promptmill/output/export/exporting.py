"""A finished output as one file, which nobody sees before it is whole.

The rows are read one part after another, so that the size of the output doesn't matter for CSV and JSONL.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from promptmill.cell_values import rows_of
from promptmill.errors import OutputError, SetupError
from promptmill.output.export.text_files import write_csv, write_jsonl
from promptmill.output.export.workbook import require_fit, write_workbook
from promptmill.output.reading import PartTables
from promptmill.public_url import public_url
from promptmill.storage import STORAGE_ERRORS, Storage
from promptmill.unpublished import UnpublishedFile

Kind: TypeAlias = Literal["csv", "jsonl", "xlsx"]
_KINDS: dict[str, Kind] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".xlsx": "xlsx"}
_ROWS = 1_000  # made Python objects at a time


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    rows: int
    cut: int = 0  # texts that a workbook's cell can't hold whole


def kind_of(target: str) -> Kind:
    """What a file is by its name's ending. Raises: SetupError."""
    for ending, kind in _KINDS.items():
        if target.lower().endswith(ending):
            return kind
    raise SetupError(
        f"{public_url(target)!r} has none of the endings {', '.join(_KINDS)}, which say what to write. Give it one of them."
    )


def export(url: str, target: str, *, failures: bool = False, overwrite: bool = False) -> Exported:
    """Write the succeeded rows of an output, or the failed ones, to a file at any fsspec URL, in the output's order.

    Raises: SetupError; OutputError when the output isn't complete or the file can't be written.
    """
    kind = kind_of(target)
    tables = PartTables(url, failures=failures)
    if kind == "xlsx":
        require_fit(tables.rows, len(tables.columns))
    folder, name = _place_of(target)
    try:
        if not overwrite and folder.fs.exists(folder.path(name)):
            raise SetupError(
                f"there is a file {public_url(target)!r} already. Give another name, or pass --overwrite to replace it."
            )
        file = folder.open_unpublished(name)
        return _published(file, kind, tables.columns, _rows(tables))
    except STORAGE_ERRORS as error:
        raise OutputError(
            f"{public_url(target)!r} can't be written: {type(error).__name__}: {folder.describe(error)}. The rows are "
            "written there (--to). Create the folder or bucket, or give another place."
        ) from error


def _published(file: UnpublishedFile, kind: Kind, columns: Sequence[str], rows: Iterator[dict[str, Any]]) -> Exported:
    try:
        written = _write(file, kind, columns, rows)
        file.finish()
        file.publish()
    except BaseException:
        file.discard()
        raise
    return written


def _write(file: UnpublishedFile, kind: Kind, columns: Sequence[str], rows: Iterator[dict[str, Any]]) -> Exported:
    match kind:
        case "csv":
            return Exported(write_csv(file.stream, columns, rows))
        case "jsonl":
            return Exported(write_jsonl(file.stream, columns, rows))
        case "xlsx":
            return Exported(*write_workbook(file.stream, columns, rows))


def _rows(tables: PartTables) -> Iterator[dict[str, Any]]:
    for table in tables:
        for start in range(0, table.num_rows, _ROWS):
            yield from rows_of(table.slice(start, _ROWS))


def _place_of(target: str) -> tuple[Storage, str]:
    folder, slash, name = target.rpartition("/")
    try:
        return Storage(folder if slash and folder else ("/" if slash else "."), "--to"), name
    except (ValueError, ImportError, *STORAGE_ERRORS) as error:
        raise SetupError(
            f"{public_url(target)!r} can't be opened: {type(error).__name__}. Give a path, or a URL that fsspec knows (--to)."
        ) from error
