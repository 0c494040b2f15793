"""The rows that are to go into the next batches, streamed in input order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from promptmill.answers import ZERO_USD, answers_table, merge_answers
from promptmill.arrow import pc
from promptmill.batch_ledger import BatchRecord, Ledger, RowCounts
from promptmill.plan import Chunk, Unrendered, needed_columns
from promptmill.records import Failure, FailureKind, Request, Usage
from promptmill.rows import Kept, read_chunks, render_chunk
from promptmill.runner import Run
from promptmill.store import hash_custom_id


@dataclass
class PendingRows:
    """Rows without an answer that are in no live batch; those that were tried often enough become failures."""

    run: Run
    ledger: Ledger
    kept: Kept
    now: float

    def __iter__(self) -> Iterator[Request]:
        """The requests. Raises: InputChanged; StorageFailed."""
        live = RowCounts(self.ledger.ids(one) for one in self.ledger.live)
        tried = RowCounts(self.ledger.ids(one) for one in self._tried)
        for chunk, rendered in self._rendered():
            yield from self._pending_of(chunk, rendered, live, tried)

    def ids(self) -> NDArray[np.uint64]:
        """Hashes of the custom_ids of all rows of unfinished chunks, answered ones and those in batches included."""
        found = [hash_custom_id(one.custom_id) for _, rendered in self._rendered() for one in rendered]
        return np.fromiter(found, np.uint64, len(found))

    def _rendered(self) -> Iterator[tuple[Chunk, list[Request | Unrendered]]]:
        assert self.run.preflight is not None  # noqa: S101 - there is something to do
        plan, prepared = self.run.preflight.plan, self.run.prepared
        pending = [chunk for chunk in plan.chunks if self.kept.finished(chunk) is None]
        columns = needed_columns(prepared.builder, prepared.job)
        for chunk, table in read_chunks(prepared.dataset, prepared.job, plan, pending, columns):
            yield chunk, render_chunk(prepared.builder, prepared.job, plan, chunk, table)

    @cached_property
    def _tried(self) -> list[BatchRecord]:
        """Batches whose leftovers count as tries: a row that is asked again starts anew."""
        since = self.kept.retry_before or 0.0
        return [one for one in self.ledger.collected if one.packed_at >= since]

    @cached_property
    def _last_words(self) -> pa.Table:
        """What the last batch of each row that none answered said of it."""
        return merge_answers([table for one in self._tried if (table := self.ledger.leftovers(one)) is not None])

    @property
    def _submissions_at_most(self) -> int:
        job = self.run.prepared.job
        return job.retry.max_attempts if job.batch.leftovers == "resubmit" else 1

    def _pending_of(
        self, chunk: Chunk, rendered: Sequence[Request | Unrendered], live: RowCounts, tried: RowCounts
    ) -> Iterator[Request]:
        order = [one.custom_id for one in rendered]
        known = self.kept.to_keep(self.kept.known(chunk, order))
        answered = set(known["custom_id"].to_pylist()) if known.num_rows else set[str]()
        hashes = [hash_custom_id(one) for one in order]
        times = tried.of(hashes)
        exhausted: list[str] = []
        for one, is_live, count in zip(rendered, live.of(hashes), times, strict=True):
            if is_live or one.custom_id in answered or isinstance(one, Unrendered):
                continue
            if count < self._submissions_at_most:
                yield one
            elif self.run.prepared.job.batch.leftovers != "online":
                exhausted.append(one.custom_id)
        if exhausted:
            self._give_up(chunk, exhausted, int(times.max()))

    def _give_up(self, chunk: Chunk, custom_ids: Sequence[str], attempts: int) -> None:
        """Make failures of rows that no batch answered, with what the last one said of them."""
        last = self._last_words
        reasons = last.filter(pc.is_in(last["custom_id"], pa.array(custom_ids, pa.string()))).to_pylist()
        said = {row["custom_id"]: row for row in reasons}
        failures = [self._failure(one, said.get(one), attempts) for one in custom_ids]
        self.kept.store.save_rows(chunk.key, answers_table(failures))

    def _failure(self, custom_id: str, said: dict[str, Any] | None, attempts: int) -> Failure:
        kind: FailureKind = said["kind"] if said else "missing"
        message = said["message"] if said else "no batch's results had a line for this row"
        status = said["http_status"] if said else None
        return Failure(custom_id, kind, message, status, attempts, None, Usage(), ZERO_USD, None, self.now)
