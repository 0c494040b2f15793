"""When answers are saved, and how many at once."""

import asyncio
import io
import threading
from decimal import Decimal
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from promptmill.checkpoints import saver
from promptmill.checkpoints.answer_files import answers_table, encode_answers
from promptmill.checkpoints.saver import Room, Saver, fill_rows, most_unsaved
from promptmill.checkpoints.store import Store
from promptmill.records import Failure, Usage
from tests.support.jobs import MakeJob


class SlowStore:
    """Writes once it is let."""

    def __init__(self) -> None:
        self.may_write = threading.Event()
        self.written: list[int] = []

    def save_rows(self, key: str, table: pa.Table) -> str:
        self.may_write.wait(10)
        self.written.append(table.num_rows)
        return key


def failure(number: int) -> Failure:
    return Failure(
        custom_id=str(number),
        kind="timeout",
        message="late",
        http_status=None,
        attempts=1,
        response=None,
        usage=Usage(),
        cost_usd=Decimal(0),
        latency_seconds=None,
        answered_at=0.0,
    )


async def test_an_answer_that_came_while_others_were_written_is_saved_though_none_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(saver, "_SAVE_SECONDS", 0.01)
    store = SlowStore()
    saving = Saver(cast(Store, store), "key", Room(50))
    await saving.add(failure(1))
    await asyncio.sleep(0.05)  # the first is being written
    await saving.add(failure(2))
    await asyncio.sleep(0.05)  # the timer of the second goes off

    store.may_write.set()
    async with asyncio.timeout(5):
        while len(store.written) < 2:
            await asyncio.sleep(0.01)

    assert store.written == [1, 1]
    await saving.close()


async def test_a_save_that_was_due_during_a_write_follows_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise an answer would stay unsaved for as long as the write, and for the whole time once more."""
    monkeypatch.setattr(saver, "_LAST_SAVE_SECONDS", 60.0)
    store = SlowStore()
    saving = Saver(cast(Store, store), "key", Room(50))
    await saving.add(failure(1))
    saving.hurry()
    await saving.add(failure(2))
    saving.hurry()

    store.may_write.set()
    async with asyncio.timeout(2):
        while len(store.written) < 2:
            await asyncio.sleep(0.01)

    await saving.close()


@pytest.mark.parametrize(
    ("checkpoint_rows", "came", "rows"),
    [
        pytest.param(50, 50, 25, id="half before anything is known"),
        pytest.param(50, 2, 46, id="nearly all where writes are quick"),
        pytest.param(50, 0, 49, id="one place is left"),
        pytest.param(50, 20, 25, id="half where writes are slow"),
        pytest.param(1, 0, 1, id="one at a time"),
    ],
)
def test_a_file_leaves_room_for_what_comes_while_it_is_written(checkpoint_rows: int, came: int, rows: int) -> None:
    assert rows == fill_rows(checkpoint_rows, came)


async def test_a_chunk_saves_what_it_has_where_all_chunks_together_have_no_room_left() -> None:
    """Otherwise all would wait for a timer."""
    store = SlowStore()
    store.may_write.set()
    room = Room(50)
    saving = Saver(cast(Store, store), "key", room)
    for _ in range(48):  # answers of other chunks
        await room.places.acquire()

    async with asyncio.timeout(2):
        for number in range(3):
            await saving.add(failure(number))

    assert store.written == [2]
    await saving.close()


@pytest.mark.parametrize(
    ("chunks", "answers"),
    [
        pytest.param(None, 20, id="more chunks may come"),
        pytest.param(9, 20, id="four of nine are under way"),
        pytest.param(2, 10, id="two chunks"),
        pytest.param(0, 5, id="no chunk"),
    ],
)
def test_a_kill_can_lose_checkpoint_rows_of_each_chunk_in_flight(
    make_job: MakeJob, chunks: int | None, answers: int
) -> None:
    assert answers == most_unsaved(make_job(1, checkpoint_rows=5, chunks_in_flight=4), chunks)


def test_few_answers_of_a_chunk_under_way_are_not_compressed() -> None:
    table = answers_table([failure(number) for number in range(3)])

    loose, finished = (pq.ParquetFile(io.BytesIO(encode_answers(table, chunk))).metadata for chunk in (None, "key"))

    assert ("UNCOMPRESSED", "ZSTD") == tuple(found.row_group(0).column(0).compression for found in (loose, finished))
