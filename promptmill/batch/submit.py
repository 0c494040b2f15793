"""The next wave: rows that wait, packed into as many batches as there is room for."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from promptmill.arrow import pc
from promptmill.batch.files import BatchFile, LineEncoder, Packer, Room
from promptmill.batch.ledger import BatchRecord, Ledger
from promptmill.batch.policy import room_left
from promptmill.batch.row_counts import RowCounts
from promptmill.checkpoints.answer_files import ZERO_USD, answers_table, merge_answers
from promptmill.checkpoints.index import hash_custom_id
from promptmill.checkpoints.spend import SpendRecords
from promptmill.errors import BudgetExhausted, ProviderRefused
from promptmill.limits.approved_cap import describe_cap
from promptmill.limits.output_guess import UNKNOWN_OUTPUT_TOKENS
from promptmill.planning.kept import Kept, again_from, find_kept
from promptmill.planning.plan import Chunk, Unrendered, needed_columns
from promptmill.planning.prepared_job import Prepared
from promptmill.planning.rows import read_chunks, render_chunk
from promptmill.records import Failure, FailureKind, Request, Usage
from promptmill.runs.run import PendingRun, Run

Submit = Callable[[BatchFile], bool]  # False: the provider takes nothing more now


def encoder_of(prepared: Prepared) -> LineEncoder:
    """How a job's requests become lines; embeddings travel one input a line."""
    builder = prepared.builder
    if prepared.job.request.endpoint == "embeddings":
        return LineEncoder("embeddings", lambda request: builder.embeddings_body([request.body]))
    return LineEncoder(prepared.job.request.endpoint, lambda request: request.body)


def reserve_price(prepared: Prepared) -> Callable[[Request], Decimal]:
    """What a row may cost by batch at most; a guess of the longest answer where the job sets no limit."""
    prices = prepared.prices

    def price(request: Request) -> Decimal:
        limit = request.max_output_tokens
        return prices.request_usd(request.input_tokens, UNKNOWN_OUTPUT_TOKENS if limit is None else limit, "batch")

    return price


def submit_wave(run: Run, ledger: Ledger, now: float, submit: Submit) -> bool:
    """Pack the rows that wait and submit file by file; True when none waits any more.

    Raises: BudgetExhausted, ProviderRefused when nothing is under way and the next row doesn't fit at all.
    """
    if not isinstance(run, PendingRun):
        return True  # another run over the output has done it all
    prepared = run.prepared
    kept = find_kept(prepared.store, run.preflight.plan, again_from(ledger.state.retry_before, ledger.state.retry_all))
    spent = ZERO_USD
    if prepared.budget_usd is not None:
        spent = SpendRecords(prepared.store).settle(kept.listing)
        spent += sum((record.uncertain_usd for record in ledger.collected), ZERO_USD)
    rows = PendingRows(run, ledger, kept, now)
    with tempfile.TemporaryDirectory(prefix="promptmill-") as folder:
        packer = Packer(rows, encoder_of(prepared), reserve_price(prepared), Path(folder))
        while (room := _room(prepared, ledger, spent)) is not None:
            file = packer.next_file(room)
            if file is None:
                _refuse_what_never_fits(prepared, ledger, packer, room)
                return packer.full_by is None
            is_taken = submit(file)
            file.path.unlink()
            if not is_taken:
                return False
    return False


def _room(prepared: Prepared, ledger: Ledger, spent: Decimal) -> Room | None:
    job = prepared.job
    return room_left(job.batch, ledger.state.enqueued_tokens, ledger.live, spent, prepared.budget_usd)


def _refuse_what_never_fits(prepared: Prepared, ledger: Ledger, packer: Packer, room: Room) -> None:
    if ledger.live:
        return  # there may be room when they end
    if packer.full_by == "usd":
        raise BudgetExhausted(
            f"the next row could cost more than the ${room.usd:.6f} that is left; "
            f"{describe_cap(prepared.budget_usd, prepared.binding_approval)}: all that was paid for is kept."
        )
    if packer.full_by is not None:
        raise ProviderRefused(
            f"one row's request alone doesn't fit into a batch: its {packer.full_by} are more than the limit allows "
            f"({room.bytes:,} bytes, {room.tokens} tokens enqueued; batch.max_bytes, batch.enqueued_tokens). "
            "Shorten it or raise the limit; what was answered is kept."
        )


@dataclass
class PendingRows:
    """Rows that have no answer and are in no live batch; a row that was tried often enough becomes a failure."""

    run: PendingRun
    ledger: Ledger
    kept: Kept
    now: float

    def __iter__(self) -> Iterator[Request]:
        """The requests. Raises: InputChanged; StorageFailed."""
        live = RowCounts(self.ledger.ids(record) for record in self.ledger.live)
        tried = RowCounts(self.ledger.ids(record) for record in self._tried)
        for chunk, rendered in self._rendered():
            yield from self._pending_of(chunk, rendered, live, tried)

    def ids(self) -> NDArray[np.uint64]:
        """Hashes of the custom_ids of all rows of unfinished chunks, answered ones and those in batches included."""
        found = [hash_custom_id(request.custom_id) for _, rendered in self._rendered() for request in rendered]
        return np.fromiter(found, np.uint64, len(found))

    def _rendered(self) -> Iterator[tuple[Chunk, list[Request | Unrendered]]]:
        plan, prepared = self.run.preflight.plan, self.run.prepared
        pending = [chunk for chunk in plan.chunks if self.kept.finished(chunk) is None]
        columns = needed_columns(prepared.builder, prepared.job)
        for chunk, table in read_chunks(prepared.dataset, prepared.job, plan, pending, columns):
            yield chunk, render_chunk(prepared.builder, prepared.job, plan, chunk, table)

    @cached_property
    def _tried(self) -> list[BatchRecord]:
        """Batches whose leftovers count as tries; `--retry-failed` starts the count again."""
        since = 0.0 if self.kept.again is None else self.ledger.state.started_at
        return [record for record in self.ledger.collected if record.packed_at >= since]

    @cached_property
    def _last_words(self) -> pa.Table:
        """Why rows have no answer, by the last batch of each."""
        return merge_answers([table for record in self._tried if (table := self.ledger.leftovers(record)) is not None])

    @property
    def _submissions_at_most(self) -> int:
        job = self.run.prepared.job
        return job.retry.max_attempts if job.batch.leftovers == "resubmit" else 1

    def _pending_of(
        self, chunk: Chunk, rendered: Sequence[Request | Unrendered], live: RowCounts, tried: RowCounts
    ) -> Iterator[Request]:
        order = [request.custom_id for request in rendered]
        known = self.kept.to_keep(self.kept.known(chunk, order))
        answered = set(known["custom_id"].to_pylist()) if known.num_rows else set[str]()
        hashes = [hash_custom_id(custom_id) for custom_id in order]
        times = tried.of(hashes)
        exhausted: list[str] = []
        for request, is_live, count in zip(rendered, live.of(hashes), times, strict=True):
            if is_live or request.custom_id in answered or isinstance(request, Unrendered):
                continue
            if count < self._submissions_at_most:
                yield request
            elif self.run.prepared.job.batch.leftovers != "online":
                exhausted.append(request.custom_id)
        if exhausted:
            self._give_up(chunk, exhausted, int(times.max()))

    def _give_up(self, chunk: Chunk, custom_ids: Sequence[str], attempts: int) -> None:
        """Make failures of rows that no batch answered, with the reason that the last batch gave."""
        last = self._last_words
        reasons = last.filter(pc.is_in(last["custom_id"], pa.array(custom_ids, pa.string()))).to_pylist()
        said = {row["custom_id"]: row for row in reasons}
        failures = [
            self.kept.dated(self._failure(custom_id, said.get(custom_id), attempts)) for custom_id in custom_ids
        ]
        self.kept.store.save_rows(chunk.key, answers_table(failures))

    def _failure(self, custom_id: str, said: dict[str, Any] | None, attempts: int) -> Failure:
        kind: FailureKind = said["kind"] if said else "missing"
        message = said["message"] if said else "no batch's results had a line for this row"
        status = said["http_status"] if said else None
        return Failure(custom_id, kind, message, status, attempts, None, Usage(), ZERO_USD, None, self.now)
