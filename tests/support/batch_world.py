"""A provider of batches and of online answers on a virtual clock, and a run with a deadline over it.

The run's steps, its ledger and its decisions are the real ones; only what travels over the wire is modelled.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, Literal, cast

import numpy as np

from promptmill.batch.api import BatchProvider
from promptmill.batch.files import BatchFile
from promptmill.batch.ledger import BatchRecord, Ledger
from promptmill.batch.policy import BatchView
from promptmill.batch.services import Service
from promptmill.batch.step import BatchWork
from promptmill.batch.timing import Timing
from promptmill.batch.within import next_step, probe_rows
from promptmill.checkpoints.deadline_record import DeadlineRecord
from promptmill.checkpoints.store import Store
from promptmill.errors import ProviderRefused
from promptmill.job.spec import Job
from promptmill.storage import Storage

Kind = Literal["steady", "stands-still", "expires", "queue-full", "refused", "at-once"]
KINDS: tuple[Kind, ...] = ("steady", "stands-still", "expires", "queue-full", "refused", "at-once")
BATCH_PRICE, ONLINE_PRICE = Decimal("0.5"), Decimal(1)
ROW_TOKENS = 10
OPENING_SECONDS = 5.0  # of an engine


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a provider is like; times in seconds."""

    kind: Kind
    rows: int
    rows_per_second: float  # online, really
    seen_per_second: float  # as the first rows show it
    deadline: float  # from the start
    batch_seconds: float  # of a whole batch
    stands_at: float  # the share of a batch at which it stops
    expires: float
    cancelling: float
    finalizing: float
    queue_rows: int
    batch_rows: int  # that a file holds at most

    @property
    def online_alone(self) -> float:
        """How long a run takes that asks everything online from the start."""
        return OPENING_SECONDS + self.rows / self.rows_per_second


def behaviour(seed: int) -> Behaviour:
    """A provider drawn at random; half of the deadlines are tight for online alone."""
    draw = Random(seed)
    kind, rows, rate = KINDS[seed % len(KINDS)], draw.randint(20, 600), 0.0
    rate = rows / draw.choice((draw.uniform(10.0, 600.0), draw.uniform(600.0, 6 * 3_600.0)))
    alone = OPENING_SECONDS + rows / rate
    slack = draw.choice((draw.uniform(0.7, 2.0), draw.uniform(2.0, 20.0)))
    return Behaviour(
        kind=kind,
        rows=rows,
        rows_per_second=rate,
        seen_per_second=rate * draw.uniform(0.6, 1.4),
        deadline=min(30 * 3_600.0, alone * slack) + draw.choice((60.0, 3_600.0, 6 * 3_600.0)),
        batch_seconds=5.0 if kind == "at-once" else draw.uniform(60.0, 40 * 3_600.0),
        stands_at=draw.uniform(0.0, 1.0) if kind == "stands-still" else 1.0,
        expires=draw.uniform(600.0, 7_200.0) if kind == "expires" else 86_400.0,
        cancelling=draw.choice((0.0, draw.uniform(0.0, 600.0), 600.0)),
        finalizing=draw.uniform(0.0, 600.0),
        queue_rows=max(2, rows // draw.randint(2, 6)) if kind == "queue-full" else rows,
        batch_rows=max(1, rows // draw.randint(1, 4)),
    )


@dataclass(slots=True)
class _Batch:
    key: str
    rows: list[int]
    created: float
    is_refused: bool
    cancelled: float | None = None


@dataclass(slots=True)
class World:
    """The provider: what it was asked, what it answered and what it bills."""

    like: Behaviour
    now: float = 1_000_000.0
    batches: list[_Batch] = field(default_factory=list[_Batch])
    paid: Decimal = Decimal(0)
    answered: set[int] = field(default_factory=set[int])
    service: Service = field(default_factory=Service)
    secrets: tuple[str, ...] = ()

    def ended_at(self, batch: _Batch) -> tuple[float, str]:
        """When a batch ends, and how."""
        like = self.like
        done = batch.created + like.batch_seconds + like.finalizing
        if like.stands_at < 1:
            done = float("inf")
        end, how = min((done, "completed"), (batch.created + like.expires, "expired"))
        if batch.cancelled is not None and batch.cancelled + like.cancelling < end:
            return batch.cancelled + like.cancelling, "cancelled"
        return end, how

    def completed(self, batch: _Batch, now: float) -> int:
        """Requests of a batch that are answered."""
        until = min(now, self.ended_at(batch)[0], now if batch.cancelled is None else batch.cancelled)
        share = min(self.like.stands_at, max(0.0, until - batch.created) / self.like.batch_seconds)
        return 0 if batch.is_refused else int(share * len(batch.rows) + 1e-9)

    def is_open(self, batch: _Batch) -> bool:
        """Whether a batch may still answer rows."""
        return not batch.is_refused and self.now < self.ended_at(batch)[0]

    def create(self, file_id: str, endpoint: object, window: object, key: str, job: Job) -> BatchView:
        """As BatchProvider does it."""
        del endpoint, window, job
        if self.like.kind == "refused":
            raise ProviderRefused("this project may not use batches.")
        rows = [int(row) for row in file_id.split(",")]
        waiting = sum(len(batch.rows) for batch in self.batches if self.is_open(batch))
        is_full = waiting + len(rows) > self.like.queue_rows
        self._ask(rows)
        self.batches.append(_Batch(key, rows, self.now, is_full))
        return self.retrieve(str(len(self.batches) - 1))

    def retrieve(self, batch_id: str) -> BatchView:
        """As BatchProvider does it."""
        batch = self.batches[int(batch_id)]
        end, how = self.ended_at(batch)
        status = "in_progress" if batch.cancelled is None else "cancelling"
        errors: tuple[tuple[str, str], ...] = ()
        if batch.is_refused:
            status, errors = "failed", (("token_limit_exceeded", f"Limit: {ROW_TOKENS * self.like.queue_rows}"),)
        elif self.now >= end:
            status = how
        done = self.completed(batch, self.now)
        out = "out" if status in {"completed", "expired", "cancelled"} else ""
        total, expires = len(batch.rows), batch.created + self.like.expires
        return BatchView(batch_id, status, "", out, "", done, 0, total, batch.created, expires, batch.key, errors)

    def cancel(self, batch_id: str) -> None:
        """As BatchProvider does it."""
        batch = self.batches[int(batch_id)]
        batch.cancelled = self.now if batch.cancelled is None else batch.cancelled

    def delete(self, file_ids: object) -> None:
        """As BatchProvider does it."""

    def look_at_file(self, file_id: str) -> tuple[str, str]:
        """As BatchProvider does it."""
        del file_id
        return "ready", ""

    def bring(self, batch_id: str) -> list[int]:
        """The rows that a batch which is over answered; they are billed."""
        batch = self.batches[int(batch_id)]
        assert not self.is_open(batch)
        brought = batch.rows[: self.completed(batch, self.now)]
        self.paid += BATCH_PRICE * len(brought)
        self.answered.update(brought)
        return brought

    def ask_online(self, rows: list[int], seconds: float | None = None) -> None:
        """Answer rows one after the other, at the rate that the provider really has."""
        self._ask(rows)
        self.now += OPENING_SECONDS + len(rows) / self.like.rows_per_second if seconds is None else seconds
        self.paid += ONLINE_PRICE * len(rows)
        self.answered.update(rows)

    def _ask(self, rows: list[int]) -> None:
        held = {row for batch in self.batches if self.is_open(batch) for row in batch.rows}
        assert not held.intersection(rows), "a batch may still answer a row that is asked once more"
        assert not self.answered.intersection(rows), "a row that was answered is asked once more"


class _Collecting:
    """Takes what batches brought, without files."""

    def __init__(self, work: "TimedWork") -> None:
        self._work = work

    def collect(self, record: BatchRecord, view: BatchView) -> None:
        """As BatchCollection does it."""
        brought = self._work.world.bring(view.id)
        self._work.ledger.save_state(replace(self._work.ledger.state, is_all_submitted=False))
        self._work.creation.save(record, state="collected", answered=len(brought))


class TimedWork(BatchWork):
    """The batches of a run whose rows are numbers."""

    world: World

    @property
    def collection(self) -> Any:
        """What takes the results."""
        return _Collecting(self)

    def _submit(self) -> None:
        world, tried = self.world, set[int]()
        for record in self.of_this_run:
            tried.update(self.ledger.ids(record).tolist())
        rows = [row for row in range(world.like.rows) if row not in tried and row not in world.answered]
        limit = self.ledger.state.enqueued_tokens
        room = len(rows) if limit is None else limit // ROW_TOKENS - sum(one.requests for one in self.ledger.live)
        while rows and room > 0:
            size = min(world.like.batch_rows, room, len(rows))
            part, rows, room = rows[:size], rows[size:], room - size
            self._hand_in(part)
        self.ledger.save_state(replace(self.ledger.state, is_all_submitted=not rows))

    def _hand_in(self, rows: list[int]) -> None:
        ids, name = np.asarray(rows, np.uint64), f"{rows[0]}-{len(rows)}-{len(self.ledger.records)}"
        tokens, numbers = np.zeros(len(rows), np.uint32), np.asarray(rows, np.int64)
        size = (len(rows), len(rows), len(rows) * ROW_TOKENS, Decimal(0))
        file = BatchFile(Path("unused"), name, *size, ids, tokens, numbers)
        record = self.ledger.intend(file, self.clock(), endpoint="/v1/chat/completions")
        assert record is not None
        self.creation.create(self.creation.save(record, state="uploaded", file_id=",".join(map(str, rows))))


def run_in_time(like: Behaviour, job: Job, name: str, give_up: Callable[[BatchWork, str], bool]) -> World:
    """The world after a run with a deadline over it, as batch/in_time.py carries it out."""
    world = World(like)
    began, storage = world.now, Storage(f"memory://within-{name}")
    first = probe_rows(like.rows)
    world.ask_online(list(range(first)))
    look = max(60.0, like.deadline / 100)
    at = _moment(began + like.deadline)
    record = DeadlineRecord("", "", _moment(began), at, like.rows - first, like.seen_per_second)
    ledger = Ledger(storage).load()
    timing = Timing(record, look)
    if next_step(timing.moment(ledger, world.now)) == "submit":
        work = _work(world, job, storage, ledger, timing)
        while not _step(work, give_up):
            world.now += look
            assert world.now < began + 2 * like.deadline + 7_200, "the run never ends"
    left = sorted(set(range(like.rows)) - world.answered)
    if left:
        world.ask_online(left)
    return world


def _step(work: BatchWork, give_up: Callable[[BatchWork, str], bool]) -> bool:
    try:
        return work.step()
    except ProviderRefused as error:
        if not give_up(work, str(error)):
            raise
        return work.is_finished


def _moment(seconds: float) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC)


def _work(world: World, job: Job, storage: Storage, ledger: Ledger, timing: Timing) -> TimedWork:
    def nothing() -> Any:
        raise AssertionError("no plan is needed")

    provider = cast(BatchProvider, world)
    work = TimedWork(job, Store(storage), ledger, provider, nothing, nothing, clock=lambda: world.now, timing=timing)
    work.world = world
    ledger.restart(replace(ledger.state, started_at=world.now))
    return work
