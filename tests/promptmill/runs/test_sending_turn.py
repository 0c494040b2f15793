"""Chunks under way send one after the other, so that their answers are saved in few files."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from promptmill.checkpoints.saver import Room, Saver
from promptmill.checkpoints.store import Store
from promptmill.limits.places import Places
from promptmill.provider.transport import Credentials
from promptmill.records import Request
from promptmill.runs.admission import Admission
from promptmill.runs.chunk_sending import ChunkSending
from promptmill.runs.engine import Engine
from promptmill.runs.save_gate import SaveGate
from promptmill.simulator import Simulator
from promptmill.stop import Slot, Stop
from tests.support.jobs import MakeJob, carry_out


async def test_files_under_way_hold_as_many_answers_as_a_kill_may_lose_at_all(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four chunks that send side by side would save 5 to 10 answers at a time."""
    files = list[int]()
    save = Store.save_rows
    monkeypatch.setattr(
        Store, "save_rows", lambda store, key, table: [files.append(table.num_rows), save(store, key, table)][1]
    )
    simulator.configure(latency_seconds=0.01)

    await carry_out(
        make_job(640, chunk_rows=160, checkpoint_rows=10, chunks_in_flight=4, limits={"max_concurrency": 8}),
        credentials,
    )

    assert sum(files) == 640
    assert len(files) <= 640 / 20 + 2 * 4  # half a room each, and two smaller ones at the end of each chunk
    assert max(files) <= 40


class _Sending(ChunkSending):
    """Sends to nobody; row 0 gives its slot up and waits for another attempt."""

    def __init__(self, engine: Engine, saver: Saver, rows: int) -> None:
        super().__init__(engine, saver, cast(list[Request], list(range(rows))), {})
        self.engine = engine
        self.answered: list[int] = []
        self.most_held = 0  # slots

    async def _send_pack(self, pack: Sequence[Request], slot: Slot) -> None:
        number = cast(int, pack[0])
        self.most_held = max(self.most_held, self.engine.places.held)
        if number == 0:
            slot.release()
            await asyncio.sleep(0.01)
            await slot.acquire()
        await asyncio.sleep(0.001)
        self.answered.append(number)


@pytest.mark.parametrize("slots", [1, 3])
async def test_a_row_that_waits_for_its_next_attempt_gets_a_slot_before_the_chunk_is_through(
    make_job: MakeJob, slots: int
) -> None:
    """A slot goes from row to row, and would never come to one that gave its own up."""
    sending = _sending(make_job, slots, rows=200)

    await sending.send_all()

    assert sorted(sending.answered) == list(range(200))
    assert sending.answered.index(0) < 60
    assert sending.engine.places.held == 0


async def test_a_chunk_takes_no_more_slots_than_it_has_requests(make_job: MakeJob) -> None:
    """A task for each free slot would be ten thousand tasks for a chunk of 500 rows."""
    sending = _sending(make_job, 100, rows=3)

    await sending.send_all()

    assert sending.most_held == 3


async def test_a_chunk_without_anything_to_send_waits_for_no_turn(make_job: MakeJob) -> None:
    sending = _sending(make_job, 1, rows=0)
    await sending.engine.admission.turn.acquire()  # another chunk sends

    async with asyncio.timeout(1):
        await sending.send_all()


def _sending(make_job: MakeJob, slots: int, rows: int) -> _Sending:
    places, stop, saving = Places(slots), Stop(), SaveGate()
    parts = {"places": places, "stop": stop, "saving": saving, "admission": Admission(4), "may_send": True}
    engine = cast(Engine, SimpleNamespace(job=make_job(1), **parts))
    return _Sending(engine, Saver(cast(Store, None), "key", Room(10)), rows)


def test_a_slot_is_kept_while_only_the_next_row_waits_and_there_are_not_fewer_places() -> None:
    places = Places(2)
    places.held = 2
    assert places.may_be_kept

    places.change(1)
    assert not places.may_be_kept
