"""Rows → chunks: one pass over the dataset that costs nothing, before anything is sent.

The pass renders every request. So it derives each chunk's key from the content, counts tokens, and finds what is wrong with
the data before a run spends money. It keeps a few numbers a chunk and, if the rows have an id column, 16 bytes a row to
prove that the ids are unique.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import isnan

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from promptmill.cell_values import Unreadable
from promptmill.column_types import plain_type
from promptmill.dataset.dataset import Dataset
from promptmill.errors import DatasetError
from promptmill.job.identity import chunk_key
from promptmill.job.spec import Job
from promptmill.planning.rendering import Unrendered, needed_columns, render_table, row_ids
from promptmill.prompts.request_builder import RequestBuilder
from promptmill.public_url import public_url
from promptmill.records import Request

__all__ = ["Chunk", "Plan", "Unrendered", "needed_columns", "plan_chunks"]  # what others take from here


@dataclass(frozen=True, slots=True)
class Chunk:
    """A contiguous range of rows."""

    index: int  # 0 = first
    start: int  # row number of its first row
    rows: int
    key: str  # names its checkpoint
    input_tokens: int
    unrendered: int  # rows that aren't sent
    has_repetitions: bool = (
        False  # some rows share an id's digest with earlier rows, so the key covers other custom_ids
    )

    @property
    def label(self) -> str:
        """Its rows, counted from 1."""
        return f"{self.start + 1:,} to {self.start + self.rows:,}"


@dataclass(slots=True)
class Plan:
    """All chunks, and what the pass found out."""

    chunks: list[Chunk] = field(default_factory=list[Chunk])
    rows: int = 0
    input_tokens: int = 0
    unrendered: int = 0
    first_unrendered: tuple[int, str] | None = None  # row number, message
    largest: tuple[int, int] = (0, 0)  # tokens of the largest request (output limit included), its row number
    repetitions: dict[int, int] = field(
        default_factory=dict[int, int]
    )  # row number → how many earlier rows have its custom_id; rows with none are left out
    first_request: Request | None = None
    fingerprint: str = ""

    @property
    def keys(self) -> list[str]:
        """Keys of all chunks, in order."""
        return [chunk.key for chunk in self.chunks]


def plan_chunks(dataset: Dataset, builder: RequestBuilder, job: Job) -> Plan:
    """The plan of a dataset. Raises: DatasetError for an input that is empty or can't be read, and a null or repeated id."""
    plan = Plan(fingerprint=dataset.fingerprint)
    _refuse_id_type(dataset, job.input.id_column)
    ids, requests = _Hashes(), _Hashes()
    for start, table in _chunks_of(dataset, builder, job):
        named = row_ids(table, job.input.id_column, start)
        if job.input.id_column is not None:
            _refuse_odd_ids(named, job.input.id_column, start)
            ids.add(named)
        rendered = render_table(builder, table, named, start)
        requests.add([request.custom_id for request in rendered] if job.input.id_column is not None else [])
        _add_chunk(plan, rendered, start)
    if job.input.id_column is not None:
        _refuse_repeated_ids(dataset, job.input.id_column, ids)
        plan.repetitions = requests.repetitions()
        _mark_repetitions(plan)
    return plan


def _mark_repetitions(plan: Plan) -> None:
    """Mark the chunks with rows that repeat an earlier custom_id."""
    starts = [chunk.start for chunk in plan.chunks]
    for index in {bisect_right(starts, number) - 1 for number in plan.repetitions}:
        plan.chunks[index] = replace(plan.chunks[index], has_repetitions=True)


def _chunks_of(dataset: Dataset, builder: RequestBuilder, job: Job) -> Iterator[tuple[int, pa.Table]]:
    start = 0
    for table in dataset.read(job.chunk_rows, needed_columns(builder, job)):
        yield start, table
        start += table.num_rows
    if start == 0:
        raise DatasetError(
            f"{public_url(job.input.url)} has 0 rows; at least 1 is needed (input.url). Give a dataset with rows."
        )


def _add_chunk(plan: Plan, rendered: Sequence[Request | Unrendered], start: int) -> None:
    tokens = unrendered = 0
    for number, request in enumerate(rendered, start):
        if isinstance(request, Unrendered):
            unrendered += 1
            plan.first_unrendered = plan.first_unrendered or (number, request.message)
            continue
        tokens += request.input_tokens
        plan.first_request = plan.first_request or request
        plan.largest = max(
            plan.largest, (request.input_tokens + (request.max_output_tokens or 0), number), key=lambda x: x[0]
        )
    key = chunk_key(request.custom_id for request in rendered)
    plan.chunks.append(Chunk(len(plan.chunks), start, len(rendered), key, tokens, unrendered))
    plan.rows += len(rendered)
    plan.input_tokens += tokens
    plan.unrendered += unrendered


class _Hashes:
    """64-bit hashes of many values, to find repeated ones in eight bytes a value."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.int64]] = []

    def add(self, values: Sequence[object]) -> None:
        self._parts.append(
            np.fromiter((hash((type(value).__name__, value)) for value in values), np.int64, len(values))
        )

    def repeated(self) -> list[tuple[int, int]]:
        """Pairs (row number, row number of an earlier row with the same hash)."""
        joined = np.concatenate(self._parts) if self._parts else np.empty(0, np.int64)
        order = np.argsort(joined, kind="stable")
        same = np.flatnonzero(joined[order][1:] == joined[order][:-1])
        return [(int(order[i + 1]), int(order[i])) for i in same]

    def repetitions(self) -> dict[int, int]:
        """Row number → how many earlier rows have its hash; rows with none are left out."""
        found: dict[int, int] = {}
        for later, earlier in self.repeated():
            found[later] = found.get(earlier, 0) + 1
        return found


def _refuse_id_type(dataset: Dataset, column: str | None) -> None:
    if column is None:
        return
    kind = plain_type(dataset.schema.field(column).type)
    if kind.num_fields or pa.types.is_null(kind):
        raise DatasetError(
            f"the column {column!r} is {kind}; an id is a number, a text, a date or bytes (input.id_column). Name a column "
            "of such values, or leave input.id_column out to number the rows."
        )


def _refuse_odd_ids(ids: Sequence[object], column: str, start: int) -> None:
    for number, row_id in enumerate(ids, start):
        is_nan = isinstance(row_id, float) and isnan(row_id)
        if isinstance(row_id, Unreadable) or is_nan:
            reason = row_id.reason if isinstance(row_id, Unreadable) else "NaN"
            raise DatasetError(
                f"row {number} has {reason} in {column!r}; an id is a value that tells rows apart (input.id_column). Fix "
                "the value, or leave input.id_column out to number the rows."
            )
        if row_id is None:
            raise DatasetError(
                f"row {number} has a null in {column!r}; an id column has a value in every row (input.id_column). "
                "Fill it in, or leave input.id_column out to number the rows."
            )


def _refuse_repeated_ids(dataset: Dataset, column: str, ids: _Hashes) -> None:
    suspects = ids.repeated()
    if not suspects:
        return
    numbers = sorted({number for pair in suspects for number in pair})[:1000]
    values = _values_at(dataset, column, numbers)
    for later, earlier in suspects:
        if earlier in values and later in values and values[earlier] == values[later]:
            raise DatasetError(
                f"rows {earlier} and {later} have the same {column!r}: {values[later]!r}; an id column is unique "
                f"(input.id_column). {len(suspects):,} rows repeat an id. Make it unique, or leave input.id_column out."
            )


def _values_at(dataset: Dataset, column: str, numbers: Sequence[int]) -> dict[int, object]:
    wanted = set(numbers)
    found: dict[int, object] = {}
    start = 0
    for table in dataset.read(10_000, [column]):
        for number in wanted & set(range(start, start + table.num_rows)):
            found[number] = table[column][number - start].as_py()
        start += table.num_rows
    return found
