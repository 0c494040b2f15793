"""Submits the next wave: packs the waiting rows into as many batches as there is room for."""

import logging
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import orjson

from promptmill.batch.canary import Turn, turn_of
from promptmill.batch.drafting import Drafting
from promptmill.batch.files import BatchFile, LineEncoder, NumberedRequest, Packer, Room, line_url
from promptmill.batch.ledger import Ledger
from promptmill.batch.pending_rows import PendingRows
from promptmill.batch.plan_record import (
    PlanRecord,
    answers_digest,
    answers_of_others,
    batches_of,
    forget_plan,
    has_lost_answers,
    read_plan,
    source_digest,
)
from promptmill.batch.policy import room_left
from promptmill.batch.services import Service, prefix_of
from promptmill.batch.waiting import WaitingRows, find_waiting
from promptmill.checkpoints.answer_files import ZERO_USD
from promptmill.checkpoints.spend import SpendRecords
from promptmill.checkpoints.store import Listing
from promptmill.errors import BudgetExhausted, InputChanged, ProviderRefused
from promptmill.job.spec import Job
from promptmill.limits.approved_cap import describe_cap, read_approved
from promptmill.limits.output_guess import UNKNOWN_OUTPUT_TOKENS
from promptmill.planning.kept import Kept, again_from, find_kept
from promptmill.planning.prepared_job import Prepared
from promptmill.provider.tiers import without_tier
from promptmill.records import Request
from promptmill.runs.run import PendingRun, Run

log = logging.getLogger("promptmill")
Outcome = Literal["all", "full", "later"]  # no row waits any more; rows wait for room; rows wait for something else
Submit = Callable[
    [BatchFile, bool], bool
]  # the file, whether it is the canary; False: the provider takes nothing more now


def encoder_of(prepared: Prepared, prefix: str = "/v1") -> LineEncoder:
    """How a job's requests become lines; embeddings have one input a line."""
    builder, url = prepared.builder, line_url(prepared.job.request.endpoint, prefix)
    if prepared.job.request.endpoint == "embeddings":
        return LineEncoder(url, lambda request: builder.embeddings_body([request.body]))
    if prepared.job.request.tier is not None:  # a batch is already a tier
        return LineEncoder(url, lambda request: without_tier(builder.first_body(request)))
    return LineEncoder(url, builder.first_body)


def reserve_price(prepared: Prepared) -> Callable[[Request], Decimal]:
    """The most that a row may cost by batch; without an output limit in the job, a guess from the longest answer."""
    prices = prepared.prices

    def price(request: Request) -> Decimal:
        limit = request.max_output_tokens
        return prices.request_usd(request.input_tokens, UNKNOWN_OUTPUT_TOKENS if limit is None else limit, "batch")

    return price


@dataclass(frozen=True, slots=True)
class Sources:
    """The two sources of rows to submit."""

    plan: Callable[[], Run]  # a whole plan of the input, which costs time for each row
    prepare: Callable[[], Prepared]  # the job with its input opened, which doesn't


def submit_wave(sources: Sources, ledger: Ledger, service: Service, now: float, submit: Submit) -> Outcome:
    """Pack the rows that wait and submit file by file: those that the last plan's record names, else those of a new plan.

    Raises: BudgetExhausted, ProviderRefused when nothing is under way and the next row doesn't fit at all; InputChanged.
    """
    wave = _Wave(ledger, service, now, submit)
    record = read_plan(ledger)
    if record is not None and (found := wave.go_on(record, sources.prepare)) is not None:
        return found
    log.info("all rows are looked at for those that wait: no plan that was kept says which")
    run = sources.plan()
    return (
        wave.begin(run) if isinstance(run, PendingRun) else "all"
    )  # otherwise another run over the output has answered every row


@dataclass(frozen=True, slots=True)
class _Wave:
    """What a wave needs from either source of rows."""

    ledger: Ledger
    service: Service
    now: float
    submit: Submit

    def go_on(self, record: PlanRecord, prepare: Callable[[], Prepared]) -> Outcome | None:
        """Submit rows by the record of a plan; None if a new plan is needed."""
        ledger = self.ledger
        prepared = prepare()
        waiting = find_waiting(record, ledger, prepared.job)
        if waiting is None or record.source != source_digest(prepared, ledger.state):
            return None
        ours, listing = batches_of(ledger, record.id), prepared.store.listing()
        if has_lost_answers(listing, ours) or answers_digest(answers_of_others(listing, ours)) != record.answers:
            return None
        turn = self._turn(prepared, record.asked, has_answers=record.has_answers)
        if turn == "wait":
            return "later"
        spent = _spent_since(prepared, ledger, record, listing)
        if spent is None:
            return None
        rows = WaitingRows(prepared, record.as_plan(prepared.source.fingerprint), waiting.rows)
        try:
            found = self._submit_files(prepared, spent, rows, turn, record.id)
        except InputChanged:
            forget_plan(ledger)
            raise
        if found != "all" or not waiting.given_up:
            return found
        return (
            "full" if ledger.live else None
        )  # rows are given up in the whole plan that the end of the run needs anyway

    def begin(self, run: PendingRun) -> Outcome:
        """Submit rows by a new plan, and write its record."""
        prepared, plan, ledger = run.prepared, run.preflight.plan, self.ledger
        kept = find_kept(prepared.store, plan, again_from(ledger.state.retry_before, ledger.state.retry_all))
        drafting = Drafting(run, ledger, kept)
        rows = PendingRows(run, ledger, kept, self.now, drafting.survey)
        drafting.begin()
        turn = self._turn(prepared, plan.asked, has_answers=drafting.has_answers)
        stream = iter(rows)
        outcome: Outcome = "later"
        if turn != "wait":
            outcome = self._submit_files(prepared, _spent(prepared, ledger, kept), stream, turn, drafting.id)
        drafting.finish(stream)
        return outcome

    def _turn(self, prepared: Prepared, asked: int, *, has_answers: bool) -> Turn:
        canary_rows = prepared.job.batch.canary_rows
        return turn_of(canary_rows, asked, self.ledger.of_this_run, self.now, has_answers=has_answers)

    def _submit_files(
        self, prepared: Prepared, spent: Decimal, rows: Iterable[NumberedRequest], turn: Turn, plan: str
    ) -> Outcome:
        with tempfile.TemporaryDirectory(prefix="promptmill-") as folder:
            encoder = encoder_of(prepared, prefix_of(self.ledger.state, self.service))
            packer = Packer(rows, encoder, reserve_price(prepared), Path(folder))
            while (room := _room(prepared, self.ledger, self.service, spent)) is not None:
                if turn == "canary":
                    room = replace(room, requests=min(room.requests, prepared.job.batch.canary_rows))
                file = packer.next_file(room)
                if file is None:
                    _refuse_what_never_fits(prepared, self.ledger, packer, room)
                    return "all" if packer.full_by is None else "full"
                is_taken = self.submit(replace(file, plan=plan), turn == "canary")
                file.path.unlink()
                if not is_taken or turn == "canary":
                    return "later"
        return "full"


def room_digest(job: Job, ledger: Ledger) -> str:
    """A digest of everything that decides whether there is room: what the batches hold, and the limits.

    Blocks. Raises: StorageFailed.
    """
    approved = read_approved(ledger.storage)
    state = replace(ledger.state, full_at="")
    records = sorted((record.key, record.state, record.answered) for record in ledger.records.values())
    parts = [job.batch.model_dump(mode="json"), job.budget_usd, asdict(state), records]
    parts += [None if approved is None else approved.cap_usd]
    return blake2b(orjson.dumps(parts, default=str), digest_size=16).hexdigest()


def _spent(prepared: Prepared, ledger: Ledger, kept: Kept) -> Decimal:
    """US dollars that may have been spent, by looking at all answers; 0 if there is no cap."""
    if prepared.budget_usd is None:
        return ZERO_USD
    return SpendRecords(prepared.store).settle(kept.listing) + _uncertain(ledger)


def _spent_since(prepared: Prepared, ledger: Ledger, record: PlanRecord, listing: Listing) -> Decimal | None:
    """US dollars that may have been spent, by a plan's record and the ledger; None if the record lacks earlier costs."""
    if prepared.budget_usd is None:
        return ZERO_USD
    if record.answers_usd is None:
        return None
    ours = sum((batch.cost_usd for batch in batches_of(ledger, record.id)), record.answers_usd)
    return max(ours, SpendRecords(prepared.store).recorded(listing)) + _uncertain(ledger)


def _uncertain(ledger: Ledger) -> Decimal:
    return sum((record.uncertain_usd for record in ledger.collected), ZERO_USD)


def _room(prepared: Prepared, ledger: Ledger, service: Service, spent: Decimal) -> Room | None:
    return room_left(prepared.job.batch, service, ledger.state, ledger.live, spent, prepared.budget_usd)


def _refuse_what_never_fits(prepared: Prepared, ledger: Ledger, packer: Packer, room: Room) -> None:
    if ledger.live:
        return  # there may be room when live batches end
    if packer.full_by == "usd":
        raise BudgetExhausted(
            f"the next row could cost more than the ${room.usd:.6f} that is left; "
            f"{describe_cap(prepared.budget_usd, prepared.binding_approval)}: all answers that were paid for are kept."
        )
    if packer.full_by is not None:
        raise ProviderRefused(
            f"one row's request alone doesn't fit into a batch: its {packer.full_by} are more than the limit allows "
            f"({room.bytes:,} bytes, {room.tokens} tokens enqueued; batch.max_bytes, batch.enqueued_tokens). "
            "Shorten it or raise the limit; all answers so far are kept."
        )
