"""The next wave: rows that wait, packed into as many batches as there is room for."""

import tempfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from promptmill.answers import ZERO_USD
from promptmill.approved import describe_cap
from promptmill.batch_file import BatchFile, LineEncoder, Packer, Room
from promptmill.batch_ledger import Ledger
from promptmill.batch_plan import room_left
from promptmill.batch_rows import PendingRows
from promptmill.errors import BudgetExhausted, ProviderRefused
from promptmill.prepared import Prepared
from promptmill.records import Request
from promptmill.rows import find_kept
from promptmill.runner import Run
from promptmill.usage_guess import UNKNOWN_OUTPUT_TOKENS

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
    prepared = run.prepared
    assert run.preflight is not None  # noqa: S101 - there is something to do
    kept = find_kept(prepared.store, run.preflight.plan, ledger.state.retry_before)
    spent = ZERO_USD
    if prepared.budget_usd is not None:
        spent = prepared.store.settle_spend(kept.listing)
        spent += sum((one.uncertain_usd for one in ledger.collected), ZERO_USD)
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
            f"{describe_cap(prepared.budget_usd, prepared.approved_cap)}: all that was paid for is kept."
        )
    if packer.full_by is not None:
        raise ProviderRefused(
            f"one row's request alone doesn't fit into a batch: its {packer.full_by} are more than the limit allows "
            f"({room.bytes:,} bytes, {room.tokens} tokens enqueued; batch.max_bytes, batch.enqueued_tokens). "
            "Shorten it or raise the limit; what was answered is kept."
        )
