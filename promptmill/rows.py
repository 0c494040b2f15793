"""The rows of a chunk: rendered as they were planned, and looked up among the answers that are kept."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa

from promptmill.answers import ANSWERS, merge_answers
from promptmill.arrow import pc
from promptmill.checkpoint import chunk_key
from promptmill.dataset import Dataset, rows_of
from promptmill.errors import CheckpointUnreadable, DatasetError, InputChanged
from promptmill.job import Job
from promptmill.plan import Chunk, Plan, Unrendered, render_row, render_rows, row_ids
from promptmill.prompts import RequestBuilder
from promptmill.records import Request
from promptmill.store import AnswerIndex, Listing, Store


@dataclass(frozen=True, slots=True)
class Kept:
    """The answers that were kept when a run began."""

    store: Store
    listing: Listing
    index: AnswerIndex
    retry_before: float | None = None  # failures answered before are asked again; seconds since the epoch

    def finished(self, chunk: Chunk) -> pa.Table | None:
        """All answers of a chunk that is finished, in row order; None when there is work to do. Blocks."""
        if not self.listing.is_finished(chunk.key):
            return None
        try:
            answers = self.store.load_chunk(chunk.key)
        except CheckpointUnreadable:
            return None
        is_whole = answers.num_rows == chunk.rows and not self.to_retry(answers).num_rows
        return answers if is_whole else None

    def known(self, chunk: Chunk, order: Sequence[str]) -> pa.Table:
        """What is known of these rows, each once, failures that are to be asked again included. Blocks."""
        found = [self.index.find(order)]
        with suppress(CheckpointUnreadable):
            if f"{chunk.key}.parquet" in self.listing.sizes:
                found.append(self.store.load_chunk(chunk.key))
        return merge_answers(found)

    def to_retry(self, answers: pa.Table) -> pa.Table:
        """The failures among answers that are to be asked again."""
        return answers.filter(self._is_retried(answers)) if self.retry_before is not None else ANSWERS.empty_table()

    def to_keep(self, answers: pa.Table) -> pa.Table:
        """The answers that hold."""
        return answers.filter(pc.invert(self._is_retried(answers))) if self.retry_before is not None else answers

    def _is_retried(self, answers: pa.Table) -> pa.ChunkedArray:
        return pc.and_(pc.is_valid(answers["kind"]), pc.less(answers["answered_at"], self.retry_before))


def find_kept(
    store: Store, plan: Plan, retry_before: float | None = None, chunks: Sequence[Chunk] | None = None
) -> Kept:
    """The answers that are kept now, for all chunks of the plan or for these. Blocks."""
    listing = store.listing()
    ours = None if chunks is None else {chunk.key for chunk in chunks}
    others = [] if ours is None else [key for key in plan.keys if key not in ours]
    return Kept(store, listing, AnswerIndex(store, listing.loose(plan.keys, others)), retry_before)


def read_chunks(
    dataset: Dataset, job: Job, plan: Plan, chunks: Sequence[Chunk], columns: set[str]
) -> Iterator[tuple[Chunk, pa.Table]]:
    """These chunks with these columns of their rows, in the order of the plan; one pass. Raises: InputChanged."""
    if not chunks:
        return
    first, last = chunks[0], chunks[-1]
    wanted = {chunk.index for chunk in chunks}
    tables = dataset.read(job.chunk_rows, columns, start=first.start, stop=last.start + last.rows)
    for chunk in plan.chunks[first.index : last.index + 1]:
        try:
            table = next(tables, None)
        except DatasetError as error:  # it could be read when it was planned
            raise InputChanged(str(error)) from error
        if table is None:
            raise _changed(job, chunk)
        if chunk.index in wanted:
            yield chunk, table


def render_chunk(
    builder: RequestBuilder, job: Job, plan: Plan, chunk: Chunk, table: pa.Table
) -> list[Request | Unrendered]:
    """The request of each row of a chunk. Raises: InputChanged when these aren't the rows that were planned."""
    ids = row_ids(table, job.input.id_column, chunk.start)
    rows = rows_of(table)
    rendered = render_rows(builder, rows, ids)
    if chunk_key(one.custom_id for one in rendered) != chunk.key:
        raise _changed(job, chunk)
    for number, repetition in plan.repetitions.items():
        if chunk.start <= number < chunk.start + chunk.rows:
            i = number - chunk.start
            rendered[i] = render_row(builder, rows[i], ids[i], repetition)
    return rendered


def _changed(job: Job, chunk: Chunk) -> InputChanged:
    return InputChanged(
        f"rows {chunk.label} of {job.input.url} aren't those that were planned: the input was changed while "
        "the run read it. Run the same command again; what was answered and didn't change is kept."
    )
