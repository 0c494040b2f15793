"""Rows → chunks: one pass over the dataset that costs nothing.

The pass renders every request. So it derives each chunk's key from the content, counts tokens, and finds what is wrong with
the data. It keeps a few numbers a chunk. Who has whose id or request is found out in bounded memory: at the end of the pass
(many_keys.py), or, where a run asks meanwhile (growth.py), row by row (earlier_keys.py). Either way gives the same chunks.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from promptmill.checkpoints.answer_files import REQUEST_DIGEST_CHARACTERS
from promptmill.dataset.dataset import Dataset
from promptmill.dataset.even_chunks import read_by_bytes
from promptmill.errors import DatasetError
from promptmill.job.identity import chunk_key
from promptmill.job.spec import Job
from promptmill.memory import FreeMemory
from promptmill.output.partitioning import FolderCheck
from promptmill.places import shown_places
from promptmill.planning.chunk_size import MOST_BYTES, USUAL_ROWS
from promptmill.planning.chunks import Chunk, Plan
from promptmill.planning.earlier_keys import EarlierKeys
from promptmill.planning.rendering import Unrendered, needed_columns, render_table, row_ids
from promptmill.planning.sharing import RequestDigests, Sharing, places_text
from promptmill.planning.unique_ids import Hashes, refuse_id_type, refuse_odd_ids, refuse_repeated_ids
from promptmill.prompts.request_builder import RequestBuilder
from promptmill.records import Request
from promptmill.telling import Tell, tell_nobody

__all__ = ["Chunk", "Plan", "Planner", "Unrendered", "needed_columns", "plan_chunks"]  # what others take from here

_Rendered = Sequence[Request | Unrendered]


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
    planner = Planner(dataset, builder, job, folders, keeps_requests=keeps_requests)
    while planner.step():
        tell(planner.plan.rows)
    return planner.plan


class Planner:
    """Makes a plan chunk by chunk, in the order of the rows."""

    def __init__(
        self,
        dataset: Dataset,
        builder: RequestBuilder,
        job: Job,
        folders: FolderCheck | None = None,
        *,
        keeps_requests: bool = False,
        as_they_come: bool = False,
        chunk_rows: int | None = None,
    ) -> None:
        """`as_they_come`: a chunk may be asked before the pass ends, so it says at once which rows take an earlier answer.
        `chunk_rows`: of a chunk at most, where the job doesn't say how many each has.

        Raises: DatasetError when the id column's type can't tell rows apart.
        """
        most_rows = (
            chunk_rows if chunk_rows is not None else job.chunk_rows if job.chunk_rows is not None else USUAL_ROWS
        )
        self.plan = Plan(fingerprint=dataset.fingerprint, drawn=dataset.drawn, is_whole=False, chunk_rows=chunk_rows)
        self._dataset, self._builder, self._job, self._folders = dataset, builder, job, folders
        refuse_id_type(dataset, job.input.id_column)
        self._ids, self._custom_ids = Hashes(), Hashes()
        self._digests = RequestDigests(keeps_rows=keeps_requests)
        self._earlier = _Earlier(job) if as_they_come else None
        others = () if folders is None else folders.names
        self._free = FreeMemory()
        columns, tries = {*needed_columns(builder, job), *others}, dataset.carried
        if job.chunk_rows is not None:
            self._tables = dataset.read(most_rows, columns, tries=tries)
        else:
            self._tables = read_by_bytes(dataset, most_rows, MOST_BYTES, columns, tries)

    def step(self) -> bool:
        """Plan the next chunk; False when there is none: the plan is whole then.

        Blocks. Raises: DatasetError for rows that can't be read, an absent id, and, once the plan is whole, a repeated one.
        """
        table = next(self._tables, None)
        if table is None:
            self._finish()
            return False
        self._add(table, self.plan.rows)
        return True

    def _add(self, table: pa.Table, start: int) -> None:
        id_column = self._job.input.id_column
        if self._folders is not None:
            self._folders.add(table)
        named = row_ids(table, id_column, self.plan.numbers(start, table.num_rows))
        if id_column is not None:
            refuse_odd_ids(named, id_column, start)
            self._ids.add(named)
        rendered = render_table(self._builder, table, named, start)
        self._custom_ids.add([request.custom_id for request in rendered] if id_column is not None else [])
        if self._job.request.shares_answers:
            self._digests.add(rendered)
        chunk = _count(self.plan, rendered, start)
        self.plan.counts.keep(start, rendered)
        self.plan.chunks.append(chunk if self._earlier is None else self._earlier.mark(self.plan, chunk, rendered))
        self.plan.rows += chunk.rows
        self._free.came_by(table.nbytes)

    def _finish(self) -> None:
        plan, id_column = self.plan, self._job.input.id_column
        if not plan.rows:
            raise DatasetError(
                f"{shown_places(self._job.input.urls)} has 0 rows; at least 1 is needed (input.url). Give a dataset with rows."
            )
        if id_column is not None:
            refuse_repeated_ids(self._dataset, id_column, self._ids)
            plan.repetitions = self._custom_ids.repetitions()
            _mark_repetitions(plan)
        _mark_sharing(plan, self._digests.sharing([chunk.start for chunk in plan.chunks]))
        plan.distinct = self._digests.distinct()
        plan.is_whole = True
        if self._earlier is not None:
            self._earlier.close()
        self._free.give_back()


class _Earlier:
    """What rows have in common with earlier ones, before the pass has ended."""

    def __init__(self, job: Job) -> None:
        self._requests = EarlierKeys() if job.request.shares_answers else None
        self._custom_ids = EarlierKeys() if job.input.id_column is not None else None

    def mark(self, plan: Plan, chunk: Chunk, rendered: _Rendered) -> Chunk:
        """The chunk with the rows that take an earlier row's answer, and those whose custom_id an earlier row has."""
        if self._custom_ids is not None:
            found = self._custom_ids.add(request.custom_id.encode() for request in rendered)
            repeated = {chunk.start + place: earlier for place, earlier in enumerate(found) if earlier}
            plan.repetitions = plan.repetitions | repeated  # others read it meanwhile
            chunk = replace(chunk, has_repetitions=bool(repeated))
        if self._requests is None:
            return chunk
        sent = [place for place, request in enumerate(rendered) if isinstance(request, Request)]
        digests = (bytes.fromhex(rendered[place].custom_id[:REQUEST_DIGEST_CHARACTERS]) for place in sent)
        takers = [place for place, earlier in zip(sent, self._requests.add(digests), strict=True) if earlier]
        plan.shared += len(takers)
        return replace(chunk, taking=places_text(takers, chunk.rows))

    def close(self) -> None:
        for keys in (self._requests, self._custom_ids):
            if keys is not None:
                keys.close()


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


def _count(plan: Plan, rendered: _Rendered, start: int) -> Chunk:
    """The chunk of these rows, which the plan then counts, all but their number."""
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
    plan.input_tokens += tokens
    plan.unrendered += unrendered
    return Chunk(len(plan.chunks), start, len(rendered), key, tokens, unrendered)
