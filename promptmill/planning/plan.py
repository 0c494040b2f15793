"""Rows → chunks: one pass over the dataset that costs nothing, before anything is sent.

The pass renders every request. So it derives each chunk's key from the content, counts tokens, and finds what is wrong with
the data before a run spends money. It keeps a few numbers a chunk. Who has whose id or request is found out in bounded
memory (many_keys.py).
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from promptmill.dataset.dataset import Dataset
from promptmill.errors import DatasetError
from promptmill.job.identity import chunk_key
from promptmill.job.spec import Job
from promptmill.output.partitioning import FolderCheck
from promptmill.places import shown_places
from promptmill.planning.rendering import Unrendered, needed_columns, render_table, row_ids
from promptmill.planning.sharing import Distinct, RequestDigests, Sharing, marks_of, places_text
from promptmill.planning.unique_ids import Hashes, refuse_id_type, refuse_odd_ids, refuse_repeated_ids
from promptmill.prompts.request_builder import RequestBuilder
from promptmill.records import Request
from promptmill.telling import Tell, tell_nobody

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
    taking: str = ""  # rows that take the answer of an earlier row with the same request; places as sharing.py has them
    giving: str = ""  # rows whose answer such rows take

    @property
    def takers(self) -> NDArray[np.bool_]:
        """For each row whether it takes the answer of an earlier row."""
        return marks_of(self.taking, self.rows)

    @property
    def givers(self) -> NDArray[np.bool_]:
        """For each row whether later rows take its answer."""
        return marks_of(self.giving, self.rows)

    @property
    def shared(self) -> int:
        """How many rows take the answer of an earlier one."""
        return int(self.takers.sum()) if self.taking else 0

    @property
    def label(self) -> str:
        """Its rows, counted from 1."""
        return f"{self.start + 1:,} to {self.start + self.rows:,}"


@dataclass(slots=True)
class Plan:
    """All chunks, and what the pass found out."""

    chunks: list[Chunk] = field(default_factory=list[Chunk])
    rows: int = 0
    input_tokens: int = 0  # of the rows that are asked
    unrendered: int = 0
    shared: int = 0  # rows that take the answer of another row with the same request
    first_unrendered: tuple[int, str] | None = None  # row number, message
    largest: tuple[int, int] = (0, 0)  # tokens of the largest request (output limit included), its row number
    repetitions: dict[int, int] = field(
        default_factory=dict[int, int]
    )  # row number → how many earlier rows have its custom_id; rows with none are left out
    first_request: Request | None = None
    fingerprint: str = ""
    distinct: Distinct | None = None  # its requests, where somebody is to look them up
    cached: int = 0  # requests that a cache answers
    cached_tokens: int = 0  # of their input
    drawn: Sequence[int] = ()  # the input's numbers of its rows, if it isn't a plan of all of them

    @property
    def asked(self) -> int:
        """How many requests a run would send if nothing were answered."""
        return self.rows - self.unrendered - self.shared

    @property
    def to_send(self) -> int:
        """How many requests a run would send if only the cache had answers."""
        return self.asked - self.cached

    def numbers(self, start: int, rows: int) -> Sequence[int]:
        """The numbers that the input gives to so many rows from place `start` on."""
        return self.drawn[start : start + rows] if self.drawn else range(start, start + rows)

    @property
    def keys(self) -> list[str]:
        """Keys of all chunks, in order."""
        return [chunk.key for chunk in self.chunks]


def plan_chunks(
    dataset: Dataset,
    builder: RequestBuilder,
    job: Job,
    tell: Tell = tell_nobody,
    folders: FolderCheck | None = None,
    *,
    keeps_requests: bool = False,
) -> Plan:
    """The plan of a dataset, with all of its requests if it `keeps_requests` and rows share answers; `folders` sees all rows.

    Raises: DatasetError for an input that is empty or can't be read, and a null or repeated id.
    """
    plan = Plan(fingerprint=dataset.fingerprint, drawn=dataset.drawn)
    refuse_id_type(dataset, job.input.id_column)
    ids, requests, digests = Hashes(), Hashes(), RequestDigests(keeps_rows=keeps_requests)
    for start, table in _chunks_of(dataset, builder, job, () if folders is None else folders.names):
        if folders is not None:
            folders.add(table)
        named = row_ids(table, job.input.id_column, plan.numbers(start, table.num_rows))
        if job.input.id_column is not None:
            refuse_odd_ids(named, job.input.id_column, start)
            ids.add(named)
        rendered = render_table(builder, table, named, start)
        requests.add([request.custom_id for request in rendered] if job.input.id_column is not None else [])
        if job.request.shares_answers:
            digests.add(rendered)
        _add_chunk(plan, rendered, start)
        tell(plan.rows)
    if job.input.id_column is not None:
        refuse_repeated_ids(dataset, job.input.id_column, ids)
        plan.repetitions = requests.repetitions()
        _mark_repetitions(plan)
    _mark_sharing(plan, digests.sharing([chunk.start for chunk in plan.chunks]))
    plan.distinct = digests.distinct()
    return plan


def _mark_sharing(plan: Plan, sharing: Sharing) -> None:
    """Mark the rows that take another row's answer, and those that give theirs; takers' tokens aren't sent."""
    if not sharing.rows:
        return
    for index, chunk in enumerate(plan.chunks):
        plan.chunks[index] = replace(
            chunk,
            taking=places_text(sharing.taking(chunk.start, chunk.rows), chunk.rows),
            giving=places_text(sharing.giving(chunk.start, chunk.rows), chunk.rows),
            input_tokens=chunk.input_tokens - int(sharing.spared[index]),
        )
    plan.shared = sharing.rows
    plan.input_tokens -= int(sharing.spared.sum())


def _mark_repetitions(plan: Plan) -> None:
    """Mark the chunks with rows that repeat an earlier custom_id."""
    starts = [chunk.start for chunk in plan.chunks]
    for index in {bisect_right(starts, number) - 1 for number in plan.repetitions}:
        plan.chunks[index] = replace(plan.chunks[index], has_repetitions=True)


def _chunks_of(
    dataset: Dataset, builder: RequestBuilder, job: Job, others: Sequence[str]
) -> Iterator[tuple[int, pa.Table]]:
    start = 0
    for table in dataset.read(job.chunk_rows, {*needed_columns(builder, job), *others}, tries=dataset.carried):
        yield start, table
        start += table.num_rows
    if start == 0:
        raise DatasetError(
            f"{shown_places(job.input.urls)} has 0 rows; at least 1 is needed (input.url). Give a dataset with rows."
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
        size = request.input_tokens + (request.max_output_tokens or 0)
        if size > plan.largest[0]:
            plan.largest = (size, number)
    key = chunk_key(request.custom_id for request in rendered)
    plan.chunks.append(Chunk(len(plan.chunks), start, len(rendered), key, tokens, unrendered))
    plan.rows += len(rendered)
    plan.input_tokens += tokens
    plan.unrendered += unrendered
