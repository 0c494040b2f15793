"""A chunk's rows, read again when their turn comes and rendered as the plan rendered them; changed rows are an error."""

from collections.abc import Iterable, Iterator
from itertools import chain, tee

import pyarrow as pa

from promptmill.dataset.dataset import Dataset
from promptmill.errors import DatasetError, InputChanged
from promptmill.job.identity import chunk_key
from promptmill.job.spec import Job
from promptmill.places import shown_places
from promptmill.planning.plan import Chunk, Plan, Unrendered
from promptmill.planning.rendering import render_table, row_ids
from promptmill.prompts.request_builder import RequestBuilder
from promptmill.records import Request


def read_chunks(
    dataset: Dataset, job: Job, plan: Plan, chunks: Iterable[Chunk], columns: set[str]
) -> Iterator[tuple[Chunk, pa.Table]]:
    """These chunks with these columns of their rows, in the order of the plan; one pass.

    `chunks` may come one by one, as they are planned. Raises: InputChanged.
    """
    coming = _with_gaps(plan, chunks)
    first = next(coming, None)
    if first is None:
        return
    ours, sizes = tee(chain([first], coming))
    tables = dataset.read((chunk.rows for chunk, _ in sizes), columns, start=first[0].start)
    for chunk, is_wanted in ours:
        try:
            table = next(tables, None)
        except DatasetError as error:  # planning could read it
            raise InputChanged(str(error)) from error
        if table is None:
            raise _changed(job, chunk)
        if is_wanted:
            yield chunk, table


def _with_gaps(plan: Plan, chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, bool]]:
    """These chunks and, marked as unwanted, those between them."""
    last: int | None = None
    for chunk in chunks:
        yield from ((passed, False) for passed in ([] if last is None else plan.chunks[last + 1 : chunk.index]))
        yield chunk, True
        last = chunk.index


def render_chunk(
    builder: RequestBuilder, job: Job, plan: Plan, chunk: Chunk, table: pa.Table
) -> list[Request | Unrendered]:
    """The request of each row of a chunk. Raises: InputChanged when the plan was made of other rows."""
    ids = row_ids(table, job.input.id_column, plan.numbers(chunk.start, table.num_rows))
    rendered = render_table(builder, table, ids, chunk.start, tokens=plan.counts.of(chunk.start, chunk.rows))
    if chunk_key(request.custom_id for request in rendered) != chunk.key:
        raise _changed(job, chunk)
    for number, repetition in plan.repetitions.items():
        if chunk.start <= number < chunk.start + chunk.rows:
            i = number - chunk.start
            rendered[i] = render_table(builder, table.slice(i, 1), ids[i : i + 1], number, repetition)[0]
    return rendered


def _changed(job: Job, chunk: Chunk) -> InputChanged:
    return InputChanged(
        f"rows {chunk.label} of {shown_places(job.input.urls)} aren't those that were planned: the input changed while "
        "the run read it. Run the same command again; it keeps the answers of rows that didn't change."
    )
