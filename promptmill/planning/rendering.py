"""A table's rows as requests. A row that can't be read or rendered is an `Unrendered`, and nothing is sent for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa

from promptmill.cell_values import rows_of, values_of
from promptmill.dataset.unreadable import UNREADABLE
from promptmill.job.identity import custom_id, row_digest, unreadable_digest
from promptmill.job.spec import Job
from promptmill.prompts.request_builder import RequestBuilder, RowUnrenderable
from promptmill.records import FailureKind, Request


@dataclass(frozen=True, slots=True)
class Unrendered:
    """A row that isn't sent: it can't be read, its template failed, or it is too long."""

    custom_id: str
    message: str
    kind: FailureKind = "template_error"
    raw: str | None = None  # of a row that can't be read, its text


@dataclass(frozen=True, slots=True)
class _RowNumber:
    """The id of a row that can't be read, where the others have an id column."""

    number: int


def row_ids(table: pa.Table, id_column: str | None, numbers: Sequence[int]) -> Sequence[object]:
    """The ids of a chunk's rows: the id column's values, else the rows' numbers; a row that can't be read may have none."""
    if id_column is None:
        return numbers
    ids = values_of(table[id_column], numbers[0])
    for place in _unreadable(table):
        ids[place] = _RowNumber(numbers[place]) if ids[place] is None else ids[place]
    return ids


def _render_row(
    builder: RequestBuilder, row: dict[str, Any], row_id: object, repetition: int, tokens: int
) -> Request | Unrendered:
    """A row's request, or why there is none."""
    try:
        request = builder.build(row, row_id, repetition, tokens)
    except RowUnrenderable as error:
        return Unrendered(builder.unrendered_custom_id(row_id, repetition), str(error))
    complaint = builder.limit.complaint(request)
    return request if complaint is None else Unrendered(request.custom_id, complaint, "context_length_exceeded")


def render_table(
    builder: RequestBuilder,
    table: pa.Table,
    ids: Sequence[object],
    start: int,
    repetition: int = 0,
    *,
    tokens: Sequence[int] = (),
) -> list[Request | Unrendered]:
    """The request of each row of a table whose first row has the number `start`, in order.

    `repetition`: how many earlier rows have the custom_id of each of these. `tokens`: of each row, as an earlier rendering
    counted them, 0 where it didn't.
    """
    unreadable = _unreadable(table)
    if UNREADABLE in table.column_names:
        table = table.drop_columns([UNREADABLE])
    rendered: list[Request | Unrendered] = []
    for place, (row, row_id) in enumerate(zip(rows_of(table, start), ids, strict=True)):
        if place in unreadable:
            reason, raw = unreadable[place]
            identity = custom_id(unreadable_digest(raw), row_digest(row_id, repetition))
            rendered.append(Unrendered(identity, reason, "unreadable_row", raw))
        else:
            rendered.append(_render_row(builder, row, row_id, repetition, tokens[place] if tokens else 0))
    return rendered


def _unreadable(table: pa.Table) -> dict[int, tuple[str, str]]:
    """Place → reason and text of each row that can't be read."""
    if UNREADABLE not in table.column_names:
        return {}
    column = table[UNREADABLE]
    if column.null_count == len(column):
        return {}
    values = cast(list[dict[str, str] | None], column.to_pylist())
    return {place: (value["reason"], value["raw"]) for place, value in enumerate(values) if value is not None}


def needed_columns(builder: RequestBuilder, job: Job) -> set[str]:
    """The columns that requests are built from."""
    return {UNREADABLE, *builder.columns, *([job.input.id_column] if job.input.id_column else [])}
