"""A DataFrame in memory as a dataset."""

from collections import Counter
from collections.abc import Collection, Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from promptmill.column_casts import cast_column
from promptmill.column_types import ARROW_ERRORS, carried_type
from promptmill.dataset.dataset import Dataset
from promptmill.errors import DatasetError
from promptmill.job.spec import Input

if TYPE_CHECKING:  # pandas takes 49 MB, and only a notebook needs it
    import pandas as pd


def from_frame(frame: "pd.DataFrame", spec: Input) -> Dataset:
    """A dataset over a frame in memory, without the frame's index. Raises: DatasetError."""
    try:
        table = pa.Table.from_pandas(frame, preserve_index=False)
    except UnicodeEncodeError:
        table = _with_half_characters(frame)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DatasetError(
            f"the frame has a column whose values have no common type: {error}. Give each column one type."
        ) from error
    table = _carriable(table)
    if not table.num_rows:
        raise DatasetError("the frame has 0 rows; at least 1 is needed. Give a frame with rows.")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    digest = blake2b(sink.getvalue(), digest_size=16)
    digest.update(str(spec.limit).encode())
    return Dataset(source=_TableSource(table), spec=spec, files=(), fingerprint=digest.hexdigest(), is_held=True)


def _with_half_characters(frame: "pd.DataFrame") -> pa.Table:
    """The table of a frame in which texts hold half a surrogate pair; each such text is a failure of its row later."""
    columns: list[pa.Array] = []
    for place in range(len(frame.columns)):
        series = frame.iloc[:, place]
        try:
            columns.append(pa.Array.from_pandas(series))
        except UnicodeEncodeError:
            columns.append(_text_with_halves(series))
    return pa.table(columns, names=[str(name) for name in frame.columns])


def _text_with_halves(series: "pd.Series[Any]") -> pa.Array:
    values = [None if is_null else value for value, is_null in zip(series, series.isna(), strict=True)]
    if not all(value is None or isinstance(value, str) for value in values):
        raise DatasetError(
            f"the frame's column {series.name!r} has text that isn't valid Unicode among values of other types; a column "
            "has one type. Fix the text, or make every value a text."
        )
    encoded = [None if value is None else value.encode(errors="surrogatepass") for value in values]
    return pa.array(encoded, pa.large_binary()).view(pa.large_string())


def _carriable(table: pa.Table) -> pa.Table:
    """The table with columns that can reach the output. Raises: DatasetError."""
    table = table.replace_schema_metadata(None)
    repeated = [name for name, times in Counter(table.column_names).items() if times > 1]
    if repeated:
        raise DatasetError(
            f"the frame has more than one column {', '.join(map(repr, repeated))}; a name stands for one. Rename them."
        )
    for place, column in enumerate(table.schema):
        kind = carried_type(column.type)
        if kind is None or kind == column.type:
            continue
        try:
            table = table.set_column(place, column.with_type(kind), cast_column(table[place], kind))
        except ARROW_ERRORS as error:
            raise DatasetError(
                f"the frame's column {column.name!r} ({column.type}) has a value that {kind}, its type in Parquet, can't "
                f"hold: {error}. Change the value, or leave the column out."
            ) from error
    return table


class _TableSource:
    def __init__(self, table: pa.Table) -> None:
        self.schema = table.schema
        self.notes: tuple[str, ...] = ()
        self.has_marks = False
        self.rows = table.num_rows
        self._table = table

    def blocks(self, columns: list[str], start: int, tries: Collection[str] = ()) -> Iterator[pa.Table]:
        yield self._table.select(columns).slice(start)
