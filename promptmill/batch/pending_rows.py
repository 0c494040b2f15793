"""Finds the rows without an answer: renders every row and compares it with the answers and the live batches."""

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptmill.batch.files import NumberedRequest
from promptmill.batch.ledger import BatchRecord, Ledger
from promptmill.batch.row_counts import RowCounts
from promptmill.batch.row_numbers import NOWHERE
from promptmill.batch.row_tries import MOST_BOUGHT, RowTries
from promptmill.batch.waiting import submissions_at_most
from promptmill.checkpoints.answer_files import ZERO_USD, answers_table
from promptmill.checkpoints.index import hash_custom_id
from promptmill.planning.kept import Kept
from promptmill.planning.plan import Chunk, Unrendered, needed_columns
from promptmill.planning.rows import read_chunks, render_chunk
from promptmill.records import Failure, FailureKind, Request, Usage
from promptmill.runs.run import PendingRun


@dataclass(slots=True)
class Survey:
    """What a look at all rows found."""

    waits: NDArray[np.bool_]  # for each row whether it goes into the next batches
    tries: list[tuple[int, int, int]] = field(default_factory=list[tuple[int, int, int]])  # in the form of PlanRecord
    saved: list[str] = field(default_factory=list[str])  # names of the answer files that the look wrote
    live_ids: "array[int]" = field(default_factory=lambda: array("Q"))  # hash of each row that waits for a live batch
    live_numbers: "array[int]" = field(default_factory=lambda: array("q"))  # and its number

    def add(self, number: int, tried: int, bought: int, live_id: int | None = None) -> None:
        """Note a row without an answer; `live_id` is its hash if a live batch has it."""
        if live_id is None:
            self.waits[number] = True
        else:
            self.live_ids.append(live_id)
            self.live_numbers.append(number)
        if tried or bought:
            self.tries.append((number, tried, bought))

    def finder(self) -> Callable[[NDArray[np.uint64]], NDArray[np.int64]]:
        """A function from row hashes to row numbers; `NOWHERE` for rows that no longer need an answer."""
        known, numbers = np.array(self.live_ids, np.uint64), np.array(self.live_numbers, np.int64)
        order = np.lexsort((numbers, known))
        known, numbers = known[order], numbers[order]

        def find(ids: NDArray[np.uint64]) -> NDArray[np.int64]:
            found = np.full(len(ids), NOWHERE, np.int64)
            if len(known):
                places = np.minimum(np.searchsorted(known, ids), len(known) - 1)
                found = np.where(known[places] == ids, numbers[places], found)
            return found

        return find


@dataclass
class PendingRows:
    """Rows that have no answer and are in no live batch; a row that was tried often enough becomes a failure."""

    run: PendingRun
    ledger: Ledger
    kept: Kept
    now: float
    survey: Survey | None = None  # collects what the look finds

    def __iter__(self) -> Iterator[NumberedRequest]:
        """Row numbers and requests. Raises: InputChanged; StorageFailed."""
        live = RowCounts(self.ledger.ids(record) for record in self.ledger.live)
        tried = RowTries(self.ledger, self._tried)
        for chunk, rendered in self._rendered():
            yield from self._pending_of(chunk, rendered, live, tried)

    def rows(self) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        """custom_id hashes and text tokens of all rows in unfinished chunks, also of answered rows and rows in batches."""
        ids, texts = array("Q"), array("I")
        for _, rendered in self._rendered():
            ids.extend(hash_custom_id(request.custom_id) for request in rendered)
            texts.extend(request.text_tokens if isinstance(request, Request) else 0 for request in rendered)
        return np.array(ids, np.uint64), np.array(texts, np.uint32)

    def _rendered(self) -> Iterator[tuple[Chunk, list[Request | Unrendered]]]:
        plan, prepared = self.run.preflight.plan, self.run.prepared
        pending = [chunk for chunk in plan.chunks if self.kept.finished(chunk) is None]
        columns = needed_columns(prepared.builder, prepared.job)
        for chunk, table in read_chunks(prepared.dataset, prepared.job, plan, pending, columns):
            yield chunk, render_chunk(prepared.builder, prepared.job, plan, chunk, table)

    @cached_property
    def _tried(self) -> list[BatchRecord]:
        """The batches whose unanswered rows count as tries; `--retry-failed` starts the count again."""
        since = 0.0 if self.kept.again is None else self.ledger.state.started_at
        return [record for record in self.ledger.collected if record.packed_at >= since]

    def _pending_of(
        self, chunk: Chunk, rendered: Sequence[Request | Unrendered], live: RowCounts, tries: RowTries
    ) -> Iterator[NumberedRequest]:
        order = [request.custom_id for request in rendered]
        known = self.kept.to_keep(self.kept.known(chunk, order))
        answered = set(known["custom_id"].to_pylist()) if known.num_rows else set[str]()
        hashes = [hash_custom_id(custom_id) for custom_id in order]
        exhausted: dict[str, int] = {}
        most, survey = submissions_at_most(self.run.prepared.job), self.survey
        counts = zip(rendered, chunk.takers, live.of(hashes), tries.tried(hashes), tries.bought(hashes), strict=True)
        for number, (request, takes, is_live, tried, bought) in enumerate(counts, chunk.start):
            if takes or request.custom_id in answered or isinstance(request, Unrendered):
                continue
            if is_live:
                if survey is not None:
                    survey.add(number, int(tried), int(bought), hashes[number - chunk.start])
            elif tried < most and bought < MOST_BOUGHT:
                if survey is not None:
                    survey.add(number, int(tried), int(bought))
                yield number, request
            elif self.run.prepared.job.batch.leftovers != "online":
                exhausted[request.custom_id] = int(tried)
        if exhausted:
            self._give_up(chunk, exhausted, tries)

    def _give_up(self, chunk: Chunk, attempts: Mapping[str, int], tries: RowTries) -> None:
        """Save failures for rows that no batch answered, with the reason that the last batch gave."""
        said = {row["custom_id"]: row for row in tries.last_words(list(attempts))}
        failures = [
            self.kept.dated(self._failure(custom_id, said.get(custom_id), count))
            for custom_id, count in attempts.items()
        ]
        name = self.kept.store.save_rows(chunk.key, answers_table(failures))
        if self.survey is not None:
            self.survey.saved.append(name)

    def _failure(self, custom_id: str, said: dict[str, Any] | None, attempts: int) -> Failure:
        kind: FailureKind = said["kind"] if said else "missing"
        message = said["message"] if said else "no batch's results had a line for this row"
        status = said["http_status"] if said else None
        return Failure(custom_id, kind, message, status, attempts, None, Usage(), ZERO_USD, None, self.now)
