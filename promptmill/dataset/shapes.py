"""How many columns a file may have, how large a chunk's rows may be, and how many names the objects of a JSON column.

Arrow gives each name inside an object a column of its own, in which every row has a place. A thousand rows with a
thousand names each, all different, become a billion places. So a JSON column that is wider than a bound stays JSON text.
"""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import pyarrow as pa

from promptmill.errors import DatasetError

_MAX_COLUMNS = 10_000  # of a file; databases take 1,600 (PostgreSQL) to 10,000 (BigQuery)
_MAX_CHUNK_BYTES = 96 << 20  # of the rows of a chunk: a run holds a few chunks
_MAX_NAMES = 1_000  # inside the objects of a JSON column


def refuse_wide(shown: str, columns: int) -> None:
    """Raises: DatasetError when a file has too many columns."""
    if columns > _MAX_COLUMNS:
        raise DatasetError(
            f"{shown} has {columns:,} columns or more; the limit is {_MAX_COLUMNS:,} (input.url). Gather them in a few, such "
            "as one that holds a list, or leave out those that no template needs."
        )


def refuse_large_chunk(held: Sequence[pa.Table], chunk_rows: int) -> None:
    """Raises: DatasetError when the rows of a chunk that are read so far take too much memory."""
    size = sum(part.nbytes for part in held)
    if size > _MAX_CHUNK_BYTES:
        rows = sum(part.num_rows for part in held)
        raise DatasetError(
            f"{rows:,} rows take {size:,} bytes in memory; the limit is {_MAX_CHUNK_BYTES:,} for the {chunk_rows:,} rows of a "
            f"chunk (chunk_rows). Set chunk_rows to {max(1, _MAX_CHUNK_BYTES // (2 * (size // rows + 1))):,}, or leave large "
            "columns out by input.columns."
        )


def is_too_wide(values: Sequence[Any]) -> bool:
    """Whether the objects among these values, and those inside them, have too many names."""
    if {list, dict}.isdisjoint(map(type, values)):
        return False
    level: list[Any] = [value for value in values if isinstance(value, list | dict) and value]
    names = 0
    while level:
        names += len({name for value in level if isinstance(value, dict) for name in cast(dict[str, Any], value)})
        if names > _MAX_NAMES:
            return True
        level = [inner for outer in level for inner in _inside(outer) if isinstance(inner, list | dict) and inner]
    return False


def _inside(value: object) -> Iterable[Any]:
    """What stands inside a value that may hold more; a list that begins with a plain value is taken for one of those."""
    if isinstance(value, dict):
        return cast(dict[str, Any], value).values()
    inner = cast(list[Any], value)
    return inner if isinstance(inner[0], list | dict | None) else ()
